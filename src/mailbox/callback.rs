//! Sends answers to where their senders want them, for messages that came with `async=true`.
//!
//! Only hosts that the configuration lists are called: a sender must not make the mailbox call any address it likes.
//! Redirections are not followed for the same reason. What cannot be delivered is tried again for a day, also after a
//! restart; the answer can be retrieved from the log all the while.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::Mailbox;
use super::mailbox::Effect;
use super::store::PendingAnswer;
use super::store::model::StoreError;
use crate::log_throttle::{LogThrottle, throttled};
use crate::tls;

/// How often errands are looked for when nobody rings.
const ROUND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Errands in hand at once.
const LOAD: usize = 16;
/// How long an errand is tried.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

static LOOKING: LogThrottle = LogThrottle::minutely();
static UNSENT: LogThrottle = LogThrottle::minutely();
static GIVEN_UP: LogThrottle = LogThrottle::minutely();

/// Whether answers may be sent to `url`: http or https, to a host (or host and port) that is listed.
#[must_use]
pub fn is_allowed(url: &str, hosts: &[String]) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let Some(host) = url.host_str() else { return false };
    let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host) || Some(listed) == with_port.as_ref())
}

/// Runs errands until `cancel`. Ends at once where no host may be called.
pub(super) async fn run(mailbox: Mailbox, cancel: CancellationToken) {
    if mailbox.config.response_hosts.is_empty() {
        return;
    }
    let client = match client(mailbox.config.response_proxy.as_deref()) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "answers cannot be sent to response-url; they wait in the log");
            return;
        }
    };
    let mut bell = mailbox.bell();
    while !cancel.is_cancelled() {
        bell.mark_unchanged();
        let busy = round(&mailbox, &client).await.unwrap_or_else(|error| {
            throttled!(warn, LOOKING, %error, "looking for answers to send failed");
            false
        });
        if !busy {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
                _ = bell.changed() => {}
            }
        }
    }
}

fn client(proxy: Option<&str>) -> reqwest::Result<reqwest::Client> {
    let mut builder = tls::http_client().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy)?);
    }
    builder.build()
}

/// Runs the errands that are due; false when there were none.
async fn round(mailbox: &Mailbox, client: &reqwest::Client) -> Result<bool, StoreError> {
    let due = mailbox.transact(|tx| tx.due_errands(LOAD).map(Effect::Undo))?.await?;
    let busy = !due.is_empty();
    let sent = futures_util::future::join_all(due.into_iter().map(|errand| send(client, errand))).await;
    if busy {
        mailbox
            .transact(move |tx| sent.iter().try_for_each(|done| settle(tx, done)).map(|()| Effect::Keep(())))?
            .await?;
    }
    Ok(busy)
}

struct SentAnswer {
    errand: PendingAnswer,
    delivered: bool,
    /// No use in trying again.
    refused: bool,
}

async fn send(client: &reqwest::Client, errand: PendingAnswer) -> SentAnswer {
    let request = client.post(&errand.url).header("content-type", "application/fhir+json").body(errand.body.clone());
    let status = request.send().await.map(|response| response.status());
    let delivered = status.as_ref().is_ok_and(|status| status.is_success());
    let refused = status
        .as_ref()
        .is_ok_and(|status| status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429));
    if !delivered && errand.attempts == 0 {
        throttled!(warn, UNSENT, answer = errand.answer, "an answer could not be sent to its response-url");
    }
    SentAnswer { errand, delivered, refused }
}

fn settle(tx: &mut dyn super::Transaction, done: &SentAnswer) -> Result<(), StoreError> {
    let age = tx.now().duration_since(done.errand.since);
    if done.delivered {
        return tx.drop_errand(&done.errand);
    }
    if done.refused || age > PATIENCE {
        throttled!(
            error,
            GIVEN_UP,
            answer = done.errand.answer,
            "an answer is no longer sent to its response-url; it is in the log"
        );
        return tx.drop_errand(&done.errand);
    }
    tx.put_off(&done.errand, due(tx.now(), done.errand.attempts))
}

/// When to try again: after 1, 2, 4 ... seconds, at most ten minutes.
fn due(now: Timestamp, attempts: u32) -> Timestamp {
    let wait = SignedDuration::from_secs(1_i64 << attempts.min(10)).min(SignedDuration::from_mins(10));
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_are_called() {
        let hosts = ["his.example.org".to_owned(), "127.0.0.1:8080".to_owned()];
        for url in ["http://his.example.org/a", "https://HIS.example.org:9443/b", "http://127.0.0.1:8080/x"] {
            assert!(is_allowed(url, &hosts), "{url}");
        }
        for url in [
            "http://127.0.0.1/x",
            "http://127.0.0.1:8081/x",
            "file:///etc/passwd",
            "http://his.example.org@evil.example.org/",
            "http://evil.example.org/?his.example.org",
            "http://user:secret@his.example.org/",
            "urn:x",
            "",
        ] {
            assert!(!is_allowed(url, &hosts), "{url}");
        }
    }

    #[test]
    fn attempts_thin_out_and_stay_within_ten_minutes() {
        let after = |attempts| due(Timestamp::UNIX_EPOCH, attempts).as_second();
        assert_eq!([after(0), after(1), after(5), after(12), after(200)], [1, 2, 32, 600, 600]);
    }
}

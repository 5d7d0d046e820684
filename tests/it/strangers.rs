//! Requests that somebody's browser was made to send: to a name that is not ours, or from a page that is not.

use serde_json::Value;

use crate::process::{self, Daemon};

async fn ask(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let request = process::http().get(format!("http://{}{path}", daemon.http));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn routes_without_a_token_answer_to_our_names_and_our_pages_only() {
    let daemon = Daemon::start_with("", "hosts = [\"stoker.example\"]", "");
    for path in
        ["/metrics", "/health", "/health/live", "/health/ready", "/fhir/metadata", "/fhir/Patient", "/fhir/Bundle"]
    {
        for foreign in [("host", "evil.example:8575"), ("origin", "https://evil.example"), ("origin", "null")] {
            let (status, body) = ask(&daemon, path, &[foreign]).await;
            assert_eq!(status, 403, "{path} {foreign:?}");
            let words = body["error"].as_str().or(body["issue"][0]["diagnostics"].as_str());
            assert!(words.is_some_and(|words| words.contains(foreign.1) && words.contains("hosts")), "{path} {body}");
        }
        for ours in [("host", "localhost:1"), ("host", "stoker.example"), ("origin", "https://stoker.example")] {
            assert_eq!(ask(&daemon, path, &[ours]).await.0, 200, "{path} {ours:?}");
        }
    }
    let post =
        process::http().post(format!("{}/$process-message", daemon.base())).header("origin", "https://evil.example");
    assert_eq!(post.header("content-type", "text/plain").body("{}").send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn where_a_token_is_asked_for_the_name_does_not_matter_and_the_open_routes_still_ask_for_it() {
    // The token "t".
    let token = "[[mailbox.auth.tokens]]\nname = \"t\"\nscopes = [\"system/*.read\"]\n\
                 sha256 = \"e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8\"";
    let daemon = Daemon::start(token);
    let foreign = ("host", "hub.example");
    assert_eq!(ask(&daemon, "/fhir/Patient", &[foreign, ("authorization", "Bearer t")]).await.0, 200);
    assert_eq!(ask(&daemon, "/fhir/Patient", &[foreign]).await.0, 401);
    for open in ["/fhir/metadata", "/metrics", "/health"] {
        assert_eq!(ask(&daemon, open, &[foreign, ("authorization", "Bearer t")]).await.0, 403, "{open}");
    }
}

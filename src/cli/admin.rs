//! The commands' side of `/admin/queue`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::engine::operator::Decided;
use crate::journal::Seq;
use crate::server::admin::secret;
use crate::server::admin::{Acknowledge, Kept, Order, Pause, Refusal, Standing, Waiting, name_of};
use crate::tls;

/// A daemon is on this machine, or near.
const CONNECT: Duration = Duration::from_secs(3);

/// For questions. Orders take as long as they take: a million messages are half a minute of commits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom a command trusts besides the daemon whose certificate the configuration names, and what it shows.
#[derive(Debug, Default, Args)]
pub struct Trust {
    /// PEM certificates of the authorities to trust, in place of the system's
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM with our certificate and private key, for a daemon whose http.tls has a client_ca
    #[arg(long, global = true, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// The daemon that holds a journal.
pub struct Remote {
    client: Client,
    base: String,
    token: Option<String>,
    journal: String,
    /// What to say when the token is not taken: which secret it is, or why none is shown. None for one that a person gave.
    note: Option<String>,
}

impl Remote {
    /// The daemon of a configuration: at `url`, or else where its `http.bind` says. Nothing is asked yet.
    pub fn of(config: &Config, url: Option<&str>, token: Option<&str>, trust: &Trust) -> anyhow::Result<Self> {
        let mut client = tls::http_client().connect_timeout(CONNECT);
        // Its certificate is for another name than the address that we reach it by, and its file is here.
        let own = config.http.tls.as_ref().map(|tls| tls.certificate.as_path());
        if let (None, Some(own), None, None) = (url, own, &trust.ca, &trust.identity) {
            client = client.tls_backend_preconfigured(tls::pinned(own).context("http.tls")?);
        } else if own.is_some() || url.is_some_and(|url| url.starts_with("https:")) {
            let trusting = tls::trusting(own, trust.ca.as_deref(), trust.identity.as_deref())?;
            client = client.tls_backend_preconfigured(trusting);
        }
        let client = client.build().context("cannot make HTTP requests")?;
        let base = url.map_or_else(|| bound(config), |url| url.trim_end_matches('/').to_owned());
        let (token, note) = match token {
            Some(token) => (Some(token.to_owned()), None),
            None => match own_secret(config, url) {
                Ok(secret) => {
                    let place = secret::place(&config.journal.path);
                    (Some(secret), Some(format!("{} holds the secret of another daemon", place.display())))
                }
                Err(why) => (None, Some(why)),
            },
        };
        Ok(Self { client, base, token, journal: name_of(&config.journal.path), note })
    }

    pub fn journal(&self) -> &str {
        &self.journal
    }

    pub async fn standing(&self) -> anyhow::Result<Standing> {
        let standing: Standing = self.ask(self.client.get(self.url("")).timeout(PATIENCE)).await?;
        self.same(&standing.journal)?;
        Ok(standing)
    }

    pub async fn why(&self, seq: Seq) -> anyhow::Result<String> {
        let url = self.url(&format!("/{seq}"));
        let waiting: Waiting = self.ask(self.client.get(url).timeout(PATIENCE)).await?;
        self.same(&waiting.journal)?;
        Ok(waiting.why)
    }

    pub async fn order(&self, order: &Order) -> anyhow::Result<Decided> {
        self.ask(self.client.post(self.url("")).json(order)).await
    }

    pub async fn pause(&self, pause: &Pause) -> anyhow::Result<Kept> {
        self.ask(self.client.post(self.url("/delivery")).timeout(PATIENCE).json(pause)).await
    }

    pub async fn acknowledge(&self, acknowledge: &Acknowledge) -> anyhow::Result<Kept> {
        self.ask(self.client.post(self.url("/damage")).timeout(PATIENCE).json(acknowledge)).await
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/admin/queue{rest}", self.base)
    }

    fn same(&self, journal: &str) -> anyhow::Result<()> {
        if Path::new(journal) != Path::new(&self.journal) {
            bail!("the daemon at {} has another journal, {journal}; name its configuration with --config", self.base);
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(reqwest::Error::without_url);
        let response = response.with_context(|| {
            format!("the daemon does not answer at {}; is http.bind right? else name it with --url", self.base)
        })?;
        let status = response.status();
        let body = response.bytes().await.map_err(reqwest::Error::without_url)?;
        if status.is_success() {
            return serde_json::from_slice(&body).with_context(|| format!("{} is no daemon of stoker", self.base));
        }
        let said = serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |refusal: Refusal| refusal.error);
        match status.as_u16() {
            401 => {
                let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                bail!(
                    "{said}{note}; give it with --token or STOKER_TOKEN, or name the daemon's configuration with --config"
                )
            }
            404 => bail!("{} has no /admin/queue; is it the daemon of this version?", self.base),
            _ => bail!("{said}"),
        }
    }
}

/// The secret of the daemon on this machine. It is shown to nobody else.
fn own_secret(config: &Config, url: Option<&str>) -> Result<String, String> {
    if let Some(url) = url {
        let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !here {
            return Err(format!("the daemon's own secret is not sent to {host}"));
        }
    }
    let path = &config.journal.path;
    secret::read(path).map_err(|error| format!("{}: {error}", secret::place(path).display()))
}

/// Where a daemon that listens on all addresses, or one, is reached from here.
fn bound(config: &Config) -> String {
    let mut address = config.http.bind;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

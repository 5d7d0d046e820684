//! The commands' side of `/admin/queue`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::engine::operator::Decided;
use crate::journal::Seq;
use crate::server::admin::{Kept, Order, Pause, Refusal, Standing, Waiting, name_of};
use crate::tls;

/// A daemon is on this machine, or near.
const CONNECT: Duration = Duration::from_secs(3);

/// For questions. Orders take as long as they take: a million messages are half a minute of commits.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon that holds a journal.
pub struct Remote {
    client: Client,
    base: String,
    token: Option<String>,
    journal: String,
}

impl Remote {
    /// The daemon of a configuration: at `url`, or else where its `http.bind` says. Nothing is asked yet.
    pub fn of(config: &Config, url: Option<&str>, token: Option<&str>) -> anyhow::Result<Self> {
        let mut client = tls::http_client().connect_timeout(CONNECT);
        if let (None, Some(tls)) = (url, &config.http.tls) {
            // Its certificate is for another name than the address that we reach it by, and its file is here.
            client = client.tls_backend_preconfigured(tls::pinned(&tls.certificate).context("http.tls")?);
        }
        let client = client.build().context("cannot make HTTP requests")?;
        let base = url.map_or_else(|| bound(config), |url| url.trim_end_matches('/').to_owned());
        Ok(Self { client, base, token: token.map(str::to_owned), journal: name_of(&config.journal.path) })
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
            401 => bail!("{said}; give it with --token or STOKER_TOKEN"),
            404 => bail!("{} has no /admin/queue; is it the daemon of this version?", self.base),
            _ => bail!("{said}"),
        }
    }
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

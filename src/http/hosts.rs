//! By which names a server is asked, and from which pages: for routes that ask for no token.
//!
//! A page in a browser of this network can be made to send requests here: by a name of its own that suddenly leads to our
//! address (DNS rebinding), which the Host header gives away, or from its own origin (CSRF), which the Origin header
//! does. Where a token is asked for neither matters, because no page has one.

use std::net::IpAddr;
use std::str::FromStr as _;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use axum::{Json, Router};
use serde_json::json;

use super::inside::Inside;
use super::listener::Peer;

/// The names by which a server may be asked, besides its addresses and those of loopback.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// `host` or `host:port`, in lower case.
    names: Vec<String>,
}

/// Why a request is not answered. For who reads it at the other end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("a request names its Host once")]
    NoHost,
    #[error(
        "'{0}' is not a name of this server; where it is one, add it to hosts ([http], or [mailbox] when that runs alone)"
    )]
    Host(String),
    #[error(
        "pages of '{0}' may not ask here without a token; where they may, add it to hosts ([http], or [mailbox] when that runs alone)"
    )]
    Origin(String),
}

impl Hosts {
    /// With those that the configuration names, and that of the base URL that clients write.
    #[must_use]
    pub fn new(named: &[String], base: Option<&str>) -> Self {
        let of_base = base.and_then(|base| Some(base.split_once("://")?.1.split('/').next()?.to_owned()));
        Self { names: named.iter().cloned().chain(of_base).map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether a request may be answered that shows no token.
    ///
    /// # Errors
    /// [`Foreign`] names the host or the origin that is not known.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Foreign> {
        if request.extensions().get::<Inside>().is_some() {
            return Ok(());
        }
        let local = request.extensions().get::<Peer>().map(|peer| peer.local.ip().to_canonical());
        let hosts = hosts(request.headers(), request.uri().authority());
        // HTTP/1.0 knows no Host, and browsers do not speak it.
        let (missing, many) = (hosts.is_empty(), hosts.windows(2).any(|pair| pair[0] != pair[1]));
        if many || missing && request.version() > Version::HTTP_10 {
            return Err(Foreign::NoHost);
        }
        let host = hosts.into_iter().next();
        if let Some(host) = &host
            && !self.is_ours(host, local)
        {
            return Err(Foreign::Host(host.clone()));
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
            let page = origin.split_once("://").map_or(origin.as_str(), |(_, page)| page);
            if host.as_deref() != Some(page) && !self.is_named(page) {
                return Err(Foreign::Origin(origin));
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str, local: Option<IpAddr>) -> bool {
        let Ok(authority) = Authority::from_str(host) else { return false };
        let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.');
        let is_ours = |address: IpAddr| address.is_loopback() || Some(address.to_canonical()) == local;
        name == "localhost" || name.parse().is_ok_and(is_ours) || self.is_named(host)
    }

    /// With this port, or with any.
    fn is_named(&self, host: &str) -> bool {
        let name = Authority::from_str(host).map(|authority| authority.host().to_owned()).unwrap_or_default();
        self.names.iter().any(|known| known == host || *known == name)
    }
}

/// Answers requests of these hosts, and of their pages, only.
pub fn guard(routes: Router, hosts: Hosts) -> Router {
    routes.route_layer(from_fn(move |request: Request, next: Next| {
        let checked = hosts.check(&request);
        async move {
            match checked {
                Ok(()) => next.run(request).await,
                Err(foreign) => (StatusCode::FORBIDDEN, Json(json!({"error": foreign.to_string()}))).into_response(),
            }
        }
    }))
}

/// What a request names, in lower case.
fn hosts(headers: &HeaderMap, target: Option<&Authority>) -> Vec<String> {
    let named = headers.get_all(header::HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    named.chain(target.map(ToString::to_string)).map(|host| host.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn ask(headers: &[(&str, &str)]) -> Result<(), Foreign> {
        let mut request = axum::http::Request::get("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let (remote, local) = (SocketAddr::from(([10, 0, 0, 9], 4)), SocketAddr::from(([10, 0, 0, 1], 8575)));
        request.extensions_mut().insert(Peer { remote, local });
        Hosts::new(&["Stoker.example".to_owned()], Some("https://hub.example/fhir")).check(&request)
    }

    #[test]
    fn addresses_loopback_and_configured_names_are_ours_and_no_others() {
        for host in [
            "127.0.0.1:8575",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8575",
            "10.0.0.1:8575",
            "stoker.example",
            "stoker.example:8575",
            "hub.example",
        ] {
            assert_eq!(ask(&[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "10.0.0.2", "localhost.evil.example", "127.0.0.1.evil.example", "a b", ""] {
            assert_eq!(ask(&[("host", host)]), Err(Foreign::Host(host.into())), "{host}");
        }
        assert_eq!(ask(&[]), Err(Foreign::NoHost));
        assert_eq!(ask(&[("host", "localhost"), ("host", "evil.example")]), Err(Foreign::NoHost));
    }

    #[test]
    fn a_page_may_ask_where_it_came_from_and_nowhere_else() {
        let from = |origin: &str| ask(&[("host", "localhost:8575"), ("origin", origin)]);
        assert_eq!(from("http://localhost:8575"), Ok(()));
        assert_eq!(from("https://stoker.example"), Ok(()));
        for origin in ["http://localhost:3000", "https://evil.example", "null", "http://evil.example:8575"] {
            assert_eq!(from(origin), Err(Foreign::Origin(origin.into())));
        }
    }
}

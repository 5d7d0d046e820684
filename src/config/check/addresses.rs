//! Where it listens, and whom it calls.

use std::io;
use std::net::SocketAddr;

use reqwest::Url;
use tokio::net::TcpSocket;

use super::findings::{Collector, Findings, spoken};
use crate::config::file::Config;
use crate::http::auth;
use crate::mllp;

/// What the daemon listens on, by key.
fn binds(config: &Config) -> Vec<(String, SocketAddr)> {
    let listeners = config.listeners.iter().enumerate().map(|(n, l)| (format!("listener.{n}.bind"), l.bind));
    std::iter::once(("http.bind".to_owned(), config.http.bind)).chain(listeners).collect()
}

pub fn check(found: &mut Collector<'_>) {
    let config = found.config;
    apart(found);
    if config.http.mailbox
        && let Err(fault) = auth::check_address(&config.mailbox.auth, config.http.bind)
    {
        found.fault("http.bind", fault);
    }
    if let Err(fault) = auth::check_address(&config.mailbox.auth, config.mailbox.bind) {
        found.fault("mailbox.bind", fault);
    }
    destination(found);
    if let Some(base) = &config.mailbox.base
        && !is_http(base)
    {
        found.fault("mailbox.base", format_args!("'{base}' is no http or https address, as https://hub.example/fhir"));
    }
    for host in &config.mailbox.response_hosts {
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            let text = format_args!("'{host}' is no host; write the name alone, or with its port, as hub.example:8443");
            found.fault("mailbox.response_hosts", text);
        }
    }
    if let Some(Err(fault)) = config.destination.way_out() {
        found.fault("destination.proxy", fault);
    }
    if let Some(proxy) = &config.mailbox.response_proxy
        && reqwest::Proxy::all(proxy.as_str()).is_err()
    {
        found.fault("mailbox.response_proxy", "is no address of a proxy, as http://proxy.example:3128");
    }
    acks_to_ourselves(found);
}

/// Two that want the same port of one address.
fn apart(found: &mut Collector<'_>) {
    let config = found.config;
    let binds = binds(config);
    for (n, (key, address)) in binds.iter().enumerate() {
        if let Some((other, taken)) = binds[..n].iter().find(|(_, other)| overlap(*other, *address)) {
            let other = spoken(config, other);
            found.fault(key, format_args!("{address} is taken by {other} = {taken}; give each a port of its own"));
        }
    }
}

/// Whether one of two addresses cannot be listened on while the other is. All addresses of IPv6 hold those of IPv4 too.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let all = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4() || other.ip().is_unspecified())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip().to_canonical() == b.ip().to_canonical() || all(a, b) || all(b, a))
}

fn is_http(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

const URL: &str = "destination.url";

fn destination(found: &mut Collector<'_>) {
    let config = found.config;
    let settled = config.clone().settled(config.http.bind);
    let typed = &settled.destination.url;
    let Some(url) = Url::parse(typed).ok().filter(|_| is_http(typed)) else {
        let text = "is no http or https address, as https://hub.example/fhir/$process-message";
        return found.fault(URL, format_args!("'{typed}' {text}"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let text = "holds a name or a password, which would stand in the log; give a token, in destination.token_file";
        found.fault(URL, text);
    }
    let own = url.port_or_known_default() == Some(config.http.bind.port()) && names(&url, config.http.bind);
    let right = url.path() == "/fhir/$process-message";
    if own && !config.http.mailbox {
        let text = "leads to this daemon, which has no mailbox (http.mailbox = false); name the receiver";
        found.fault(URL, text);
    } else if own && !right {
        let text = format_args!("{typed} leads to this daemon, whose mailbox is at /fhir/$process-message");
        found.fault(URL, text);
    } else if !own && !url.path().contains("$process-message") {
        let text = "is posted to as it stands; write the whole address, $process-message included";
        found.warn(URL, text);
    }
}

/// Whether a URL's host is this address, as far as that can be told without asking anybody.
fn names(url: &Url, bind: SocketAddr) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = bind.ip().is_loopback() || bind.ip().is_unspecified();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == bind.ip() || (loopback && ip.is_loopback()),
        Err(_) => loopback && host == "localhost",
    }
}

/// A listener that is told of its own messages would tell itself of that, for ever.
fn acks_to_ourselves(found: &mut Collector<'_>) {
    let config = found.config;
    for (n, listener) in config.listeners.iter().enumerate() {
        let to = listener.application_acks_to.as_deref().and_then(|to| to.parse::<SocketAddr>().ok());
        let Some(to) = to else { continue };
        let reached = |own: &mllp::ListenerConfig| {
            own.bind.port() == to.port()
                && (own.bind.ip() == to.ip() || own.bind.ip().is_unspecified() && to.ip().is_loopback())
        };
        if let Some(own) = config.listeners.iter().find(|own| reached(own)) {
            let text = format_args!("{to} is listener '{}' of this daemon; name the sender's own listener", own.name);
            found.fault(format!("listener.{n}.application_acks_to"), text);
        }
    }
}

/// What cannot be listened on now. Nothing is accepted on the way: a port is taken and given back.
pub fn ports(config: &Config) -> Findings {
    let mut found = Collector::new(config);
    for (key, address) in binds(config) {
        if let Err(error) = try_bind(address) {
            found.fault(key, format_args!("cannot listen on {address}: {}", why(&error, address)));
        }
    }
    found.done()
}

/// As the listeners do it: connections of a process that has just ended are in nobody's way.
fn try_bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)
}

/// Why an address cannot be listened on, and the remedy.
#[must_use]
pub fn why(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process listens there; stop it (ss -ltnp 'sport = :{port}' names it), or choose another port"
            )
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "ports below 1024 need a right that this user has not; choose one above, or give the program \
             CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}; 0.0.0.0 stands for all that it has", address.ip())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_overlap_with_each_of_their_kind() {
        let overlap = |a: &str, b: &str| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(overlap(a, b), overlap(b, a));
            overlap(a, b)
        };
        assert!(overlap("127.0.0.1:1", "127.0.0.1:1") && !overlap("127.0.0.1:1", "127.0.0.1:2"));
        assert!(overlap("0.0.0.0:1", "127.0.0.1:1") && !overlap("127.0.0.2:1", "127.0.0.1:1"));
        assert!(overlap("[::]:1", "127.0.0.1:1") && overlap("[::]:1", "0.0.0.0:1"));
        assert!(!overlap("0.0.0.0:1", "[::1]:1") && overlap("[::ffff:127.0.0.1]:1", "127.0.0.1:1"));
        assert!(!overlap("0.0.0.0:0", "0.0.0.0:0"), "the system finds each one of its own");
    }

    #[test]
    fn why_a_port_cannot_be_had_is_said_with_the_remedy() {
        let low = "0.0.0.0:104".parse().unwrap();
        let told = |kind| why(&io::Error::from(kind), low);
        assert!(told(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(told(io::ErrorKind::AddrInUse).contains("ss -ltnp 'sport = :104'"));
        assert!(told(io::ErrorKind::AddrNotAvailable).contains("no address 0.0.0.0"));
    }
}

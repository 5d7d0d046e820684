//! `stoker check`: whether the configuration and the mapping files can run, and if not, why not and where.

use std::process::ExitCode;

use crate::config::Config;
use crate::mapping::check;
use crate::tls::{self, Acceptor};

/// Faults fail it, warnings do not.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let checked = check(&config.mapping, &config.identifiers);
    let tls = tls_faults(config);
    for warning in &checked.warnings.0 {
        println!("warning: {warning}");
    }
    for fault in &checked.faults.0 {
        println!("{fault}");
    }
    tls.iter().for_each(|fault| println!("{fault}"));
    match &checked.plan {
        Some(plan) if checked.faults.0.is_empty() && tls.is_empty() => {
            let (events, resources, rules) = plan.size();
            println!("ok: {events} events, {resources} resources, {rules} rules, plan {}", plan.hash);
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{} found", count(checked.faults.0.len() + tls.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Certificates and keys that cannot be used, and where they are configured.
fn tls_faults(config: &Config) -> Vec<String> {
    let listeners = config.listeners.iter().map(|listener| (format!("listener '{}'", listener.name), &listener.tls));
    let http = [("http".to_owned(), &config.http.tls), ("mailbox".to_owned(), &config.mailbox.tls)];
    let configured = listeners.chain(http).filter_map(|(place, tls)| Some((place, tls.as_ref()?)));
    let fault =
        |(place, tls): (String, &tls::TlsConfig)| Some(format!("{place}: tls: {}", Acceptor::new(tls, &[]).err()?));
    configured.filter_map(fault).collect()
}

fn count(n: usize) -> String {
    if n == 1 { "1 fault".into() } else { format!("{n} faults") }
}

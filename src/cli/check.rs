//! `stoker check`: whether the configuration and the mapping files can run, and if not, why not and where.

use std::process::ExitCode;

use crate::config::Config;
use crate::mapping::check;

/// Faults fail it, warnings do not.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let checked = check(&config.mapping, &config.identifiers);
    for warning in &checked.warnings.0 {
        println!("warning: {warning}");
    }
    for fault in &checked.faults.0 {
        println!("{fault}");
    }
    match &checked.plan {
        Some(plan) if checked.faults.0.is_empty() => {
            let (events, resources, rules) = plan.size();
            println!("ok: {events} events, {resources} resources, {rules} rules, plan {}", plan.hash);
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{} found", count(checked.faults.0.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 fault".into() } else { format!("{n} faults") }
}

//! `stoker check`: whether the configuration and the mapping files can run, and if not, why not and where.

use std::process::ExitCode;

use crate::config::Config;
use crate::config::check::check;

/// Faults fail it, warnings do not.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let (found, plan) = check(config);
    for warning in &found.warnings {
        println!("warning: {warning}");
    }
    for fault in &found.faults {
        println!("{fault}");
    }
    match plan {
        Some(plan) if found.faults.is_empty() => {
            let (events, resources, rules) = plan.size();
            println!("ok: {events} events, {resources} resources, {rules} rules, plan {}", plan.hash);
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{} found", count(found.faults.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 fault".into() } else { format!("{n} faults") }
}

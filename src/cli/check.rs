//! `stoker check`: whether the configuration and the mapping files can run, and if not, why not and where.

use std::process::ExitCode;

use crate::config::Config;
use crate::mapping::Plan;

pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    match Plan::load(&config.mapping, &config.identifiers) {
        Ok(plan) => {
            let (events, resources, rules) = plan.size();
            println!("ok: {events} events, {resources} resources, {rules} rules, plan {}", plan.hash);
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            println!("{faults}");
            eprintln!("{} found", count(faults.0.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 fault".into() } else { format!("{n} faults") }
}

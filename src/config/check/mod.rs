//! Whether a configuration can run, and if not, why not: the one look that `stoker check` takes and that every start takes.
//!
//! In comes a [`Config`] as it was read; out go all [`Findings`], each with file, line, key and remedy, and the mapping's plan
//! where there is one. It reads what the paths lead to and changes nothing, and it asks nobody: whether a port is free and a
//! destination is up is for the start to see ([`ports`]).
//!
//! - `findings`: what is found, and where it stands
//! - `addresses`, `files`, `certificates`: what the configuration points at
//! - `access`: tokens and keys
//! - `messages`: listeners, mappings, identifier systems
//! - `quantities`: counts, sizes and times, whichever keys there are

mod findings;
mod access;
mod addresses;
mod certificates;
mod files;
mod messages;
mod quantities;

use super::file::Config;
use super::log;
use crate::mapping::Plan;
use crate::outbound::Client;
use findings::Collector;

pub use addresses::{ports, why};
pub use files::begins;
pub use findings::{Findings, Wrong};

/// Looks at all of it.
#[must_use]
pub fn check(config: &Config) -> (Findings, Option<Plan>) {
    let mut found = Collector::new(config);
    let (key, level) = config.log.said();
    if let Err(fault) = log::filter(&level) {
        found.fault(key, fault);
    }
    addresses::check(&mut found);
    files::check(&mut found);
    certificates::check(&mut found);
    access::check(&mut found);
    let plan = messages::check(&mut found);
    quantities::check(&mut found);
    // What is left is said by those who use it.
    if !found.is_at_fault("destination")
        && let Err(fault) = Client::new(&config.clone().settled(config.http.bind).destination)
    {
        found.fault_as("destination", fault);
    }
    (found.done(), plan)
}

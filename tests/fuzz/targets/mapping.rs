//! Any bytes through the whole mapping, asked what the property tests ask.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stoker::mapping::{MappingConfig, Identifiers, Plan};

#[path = "../../it/properties/invariants.rs"]
mod invariants;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let config = MappingConfig { extended: true, ..MappingConfig::default() };
    Plan::load(&config, &Identifiers::default()).unwrap_or_else(|faults| panic!("{faults}"))
});

fuzz_target!(|raw: &[u8]| invariants::hold(&PLAN, raw));

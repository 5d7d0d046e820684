//! What a person typed.

pub mod units;

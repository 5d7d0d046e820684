//! The mapping layer: `mappings/*.toml` compiled to a plan, and messages walked by it.
//!
//! What a person writes is read by [`file`], brought together by [`load`], checked and compiled by [`compile`]; [`convert`]
//! is the one call that maps a message, and it is pure: the same message and plan give the same bytes on every run.
//! [`explain`] is the same walk, watched.
//! `mappings/README.md` describes the language.

pub mod file;
pub mod syntax;
pub mod diagnostic;
pub mod config;
pub mod settings;
pub mod table;
pub mod identifier;
pub mod simple;
pub mod plan;
mod reach;
mod guard;
mod keys;
pub mod load;
mod compile;
pub mod fault;
mod variables;
mod value;
mod place;
mod contain;
pub mod record;
mod bundle;
mod apply;
mod filling;
mod making;
mod envelope;
mod nav;
pub mod convert;
mod trace;
mod resolve;
mod reason;
pub mod explain;
pub mod routes;
pub mod check;

pub use check::{Checked, check};
pub use config::{Config, Identifiers};
pub use convert::{Context, Converted, convert};
pub use diagnostic::Diagnostics;
pub use envelope::CLINICAL;
pub use explain::{Explanation, explain};
pub use fault::ConvertError;
pub use plan::Plan;
pub use record::Warning;

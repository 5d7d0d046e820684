//! The mapping layer: `mappings/*.toml` compiled to a plan, and messages walked by it.
//!
//! What a person writes is read by [`file`], brought together by [`load`], checked and compiled by [`compile`]; [`convert`]
//! is the one call that maps a message, and it is pure: the same message and plan give the same bytes on every run.
//! [`explain`] is the same walk, watched.
//! `mappings/README.md` describes the language.

pub mod run;
pub mod source;
pub mod plan;
mod compile;
pub mod explain;
pub mod check;

pub use check::{Checked, check};
pub use explain::explain;
pub use explain::report::Explanation;
pub use plan::Plan;
pub use run::convert::{Context, Converted, convert, convert_inbound};
pub use run::envelope::CLINICAL;
pub use run::error::ConvertError;
pub use run::recorder::Warning;
pub use source::config::{Identifiers, MappingConfig};
pub use source::diagnostic::Diagnostics;

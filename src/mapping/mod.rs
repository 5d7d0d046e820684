//! The mapping layer: `mappings/*.toml` compiled to a plan, and messages walked by it.
//!
//! In come files that a person wrote, once, and then messages; out go Bundles, or for each message the place and the reason
//! why there is none. It promises that the same message and plan give the same bytes on every run (no clock, no IO, nothing
//! remembered), that what is not sent on is counted and can be explained, and that no error holds patient data. It refuses
//! mapping files in which anything is wrong, all of it told at once, and messages without what their event needs.
//!
//! Each folder imports only what stands above it:
//!
//! - [`source`]: what a person wrote, read and brought together
//! - [`plan`]: what rules are once they are compiled, and what can be asked of them without a message
//! - `compile`: from the one to the other
//! - [`check`](mod@check): what compiles and still cannot be meant
//! - [`run`]: a message walked by a plan; [`convert`] is the one call
//! - [`explain`](mod@explain): the same walk, watched by a recorder that keeps everything
//!
//! `mappings/README.md` describes the language. A new key of a rule goes through `source/file.rs`, `plan/rule.rs`,
//! `compile/rules.rs` and `run/build.rs` or `run/values.rs`; what it reads also through `plan/usage.rs` and
//! `plan/prefilter.rs`.

pub mod source;
pub mod plan;
mod compile;
pub mod check;
pub mod run;
pub mod explain;

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

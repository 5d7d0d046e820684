//! The mapping layer: `mappings/*.toml` compiled to a plan, and messages walked by it.
//!
//! In come mapping files, once, and messages; out go Bundles, and explanations of them. It promises to be pure: the same message
//! and plan give the same bytes on every run. It refuses files in which anything does not fit, all of it at once, and messages
//! without what their event needs. In the order of the data:
//!
//! - [`source`]: what a person wrote, read and brought together
//! - [`plan`]: what it compiles to; `compile`: how
//! - [`check`](mod@check): what compiles and cannot be meant
//! - [`run`]: one message walked by the plan; [`convert()`] is the call
//! - [`explain`](mod@explain): the same walk, watched
//!
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

//! One message walked by a plan: v2 in, a FHIR message Bundle out.
//!
//! In come a plan, a message and what is known of its sender; out goes the Bundle as JSON, or a [`error::ConvertError`] with the
//! place. It promises to be pure (no clock, no IO, nothing remembered), so that the same message and plan give the same bytes on
//! every run, and to tell a [`recorder::Recorder`] of each step; it does not know who listens. It refuses a message without what
//! its event needs.
//!
//! In the order of the work:
//! - [`convert`]: the one call; reads the message and decides its event and course
//! - `reader`, `called`, `interpolate`: reads fields for rules, in their scope
//! - `entries`: which resources there are and how each is found
//! - `build`, `values`, `assign`, `contain`: rules to elements
//! - `envelope`, `nav`: the Bundle around them, and what a profile forbids in it
//! - [`recorder`], [`error`]: what is noted, and why there is no Bundle

pub mod error;
pub(super) mod reader;
mod called;
pub(super) mod assign;
pub(super) mod contain;
pub mod recorder;
pub(super) mod entries;
pub(super) mod build;
pub(super) mod interpolate;
pub(super) mod values;
pub(super) mod envelope;
pub(super) mod nav;
pub mod convert;

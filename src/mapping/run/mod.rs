//! TODO

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

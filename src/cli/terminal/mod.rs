//! What a person sees on a terminal: columns for its width and their colours, and points in time as they are typed and told.
//!
//! - [`columns`]: text in columns, cut to the screen
//! - [`moment`]: `2h`, `yesterday`, a date

pub(super) mod columns;
pub(super) mod moment;

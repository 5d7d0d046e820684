//! What a person sees on a terminal: columns for its width and their colours, and points in time as they are typed and told.
//!
//! - [`output`]: stdout and stderr, and what follows when nobody reads them
//! - [`columns`]: text in columns, cut to the screen
//! - [`moment`]: `2h`, `yesterday`, a date

#[macro_use]
pub(super) mod output;
pub(super) mod columns;
pub(super) mod moment;

//! What a person wrote: the mapping files and the site's settings, read and not yet compiled.
//!
//! In come TOML files, the shipped ones and a site's overlays, and the keys of the configuration; out go rules, templates,
//! tables and events with the place of each, and everything that is wrong with them at once, by file and line. It promises to
//! keep what it read as it was written, and refuses keys that mean nothing.
//!
//! - [`config`], [`settings`]: what a site sets, as typed and as checked
//! - [`file`](mod@file), `unknown_keys`, `place`: the form of the files, what is no part of it, and where in them something stands
//! - `unread`: what lies in a folder and is not read, and was meant to be
//! - [`load`]: brings shipped files, the extended set and overlays together
//! - [`table`]: codes to codes
//! - [`diagnostic`]: what is wrong, and what to do about it

pub(super) mod place;
pub mod file;
pub mod diagnostic;
pub mod config;
pub mod settings;
pub mod table;
pub(super) mod unknown_keys;
mod unread;
pub mod load;

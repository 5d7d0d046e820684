//! Bytes to frames and back, without a socket's ways.
//!
//! In come bytes as they arrive; out go frames, what broke off, what was too long, and what was no frame. It promises to lose no
//! byte without saying so and to hold no more than a frame's limit, and to find the next frame after any fault. It knows nothing
//! of messages but where an MSH begins.
//!
//! - [`frame`]: the codec
//! - [`reader`]: a connection's reading half, with the patience for each part
//! - [`utf16`]: messages whose MSH is UTF-16

pub mod frame;
pub(super) mod utf16;
pub(super) mod reader;

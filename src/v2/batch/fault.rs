//! What in a file is not a message, with its place and without its content.

use std::io;

/// What is not a message. Only [`FileFault::Read`] ends the file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("line {line}: {bytes} bytes that belong to no message; a message starts with an MSH segment")]
    Outside { line: u64, bytes: u64 },
    #[error("line {line}: message {number} is longer than {max} bytes")]
    TooLong { number: u64, line: u64, max: usize },
    #[error("the file is UTF-16; convert it to UTF-8 first")]
    Utf16,
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
}

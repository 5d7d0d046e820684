//! Files of messages as the commands take them: by name, or `-` for stdin.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A message longer than this is not read into memory.
pub const MAX_MESSAGE: usize = 16 << 20;

pub type Input = BufReader<Box<dyn Read>>;

/// Opens a file, or stdin for `-`.
pub fn open(path: &Path) -> io::Result<Input> {
    let inner: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    Ok(BufReader::with_capacity(1 << 16, inner))
}

//! Where entries stand: what the threads hand each other in place of the bytes.

/// A run of entries in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub file: usize,
    pub salt: u32,
    pub from: u64,
    pub to: u64,
    /// Positions.
    pub first: u64,
    pub last: u64,
}

impl Extent {
    /// Takes in the one that follows it directly.
    pub fn join(&mut self, next: &Self) -> bool {
        let joins = self.file == next.file && self.salt == next.salt && self.to == next.from;
        if joins {
            (self.to, self.last) = (next.to, next.last);
        }
        joins
    }
}

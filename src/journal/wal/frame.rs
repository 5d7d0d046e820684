//! What stands before each entry, and whether it and the entry belong together.

use crc32fast::Hasher;

/// Length, checksum and position, before each entry.
pub const FRAME: usize = 16;

/// The frame that begins here, where all of it is here.
pub fn frame_at(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    bytes.get(..FRAME.checked_add(length)?)
}

pub fn checks(frame: &[u8], salt: u32, position: u64) -> bool {
    frame[4..8] == checksum(frame, salt).to_le_bytes() && frame[8..FRAME] == position.to_le_bytes()
}

/// Of everything in a frame but the checksum itself.
pub fn checksum(frame: &[u8], salt: u32) -> u32 {
    let mut hasher = Hasher::new_with_initial(salt);
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

/// Writes the checksums into the frames of a group.
pub fn seal(group: &mut [u8], salt: u32) {
    let mut rest = group;
    while rest.len() >= FRAME {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let (frame, behind) = rest.split_at_mut(FRAME + length);
        let checksum = checksum(frame, salt);
        frame[4..8].copy_from_slice(&checksum.to_le_bytes());
        rest = behind;
    }
}

//! What stands before each entry, and whether it and the entry belong together.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;

/// Length, checksum, position, and the first position of the group, before each entry.
pub const FRAME: usize = 24;

/// The frame that begins here, where all of it is here.
pub fn frame_at(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    bytes.get(..FRAME.checked_add(length)?)
}

pub fn checks(frame: &[u8], salt: u32, position: u64) -> bool {
    frame[8..16] == position.to_le_bytes() && frame[4..8] == checksum(frame, salt).to_le_bytes()
}

/// The first position of the group that a frame is of: everything before it was synced when this was written.
pub fn group(frame: &[u8]) -> u64 {
    frame[16..FRAME].try_into().map_or(0, u64::from_le_bytes)
}

/// What a frame says before its checksum is known: everything but that.
pub fn describe(frame: &mut [u8], length: u32, position: u64, group: u64) {
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&position.to_le_bytes());
    frame[16..FRAME].copy_from_slice(&group.to_le_bytes());
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

/// So much is looked through at a time.
const WINDOW: usize = 1 << 20;

/// Frames that are looked at always.
const SHORT: u64 = 4096;

static ZEROS: [u8; 4096] = [0; 4096];

/// Reads what is there; behind the end of the file stand zeros.
pub fn read(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Where among these bytes of a file the next frame begins that checks and has one of these positions, and which it has.
/// For what stands behind a frame that does not check: it may be anywhere.
pub fn find(file: &File, within: Range<u64>, salt: u32, positions: Range<u64>) -> io::Result<Option<(u64, u64)>> {
    // Each entry takes a frame at least, so that a position says how far behind it can be at most.
    let most = within.end.saturating_sub(within.start) / FRAME as u64 + 1;
    let positions = positions.start..positions.end.min(positions.start.saturating_add(most));
    // What a sender wrote may look like the beginnings of many long frames: so much is summed up for them, and short ones only
    // after that.
    let mut patience = within.end.saturating_sub(within.start).saturating_mul(8).saturating_add(16 << 20);
    let mut from = within.start;
    while from + FRAME as u64 <= within.end {
        let length = (within.end - from).min(WINDOW as u64) as usize;
        let window = read(file, from, length)?;
        let mut at = 0;
        while at <= length - FRAME {
            let position = u64::from_le_bytes(window[at + 8..at + 16].try_into().map_err(io::Error::other)?);
            if positions.contains(&position) {
                let length = u64::from(u32::from_le_bytes(window[at..at + 4].try_into().map_err(io::Error::other)?));
                let affordable = length <= patience || length <= SHORT;
                if affordable && whole(file, &window[at..], from + at as u64, within.end, salt)? {
                    return Ok(Some((from + at as u64, position)));
                }
                patience = patience.saturating_sub(length);
            }
            // Where nothing was written yet no frame begins whose position would be there.
            at += if position == 0 && window[at..].starts_with(&ZEROS) { ZEROS.len() - 16 } else { 1 };
        }
        from += (length - FRAME + 1) as u64;
    }
    Ok(None)
}

/// Whether the frame that these bytes begin checks; it may go on behind them.
fn whole(file: &File, bytes: &[u8], at: u64, end: u64, salt: u32) -> io::Result<bool> {
    let length = u32::from_le_bytes(bytes[..4].try_into().map_err(io::Error::other)?) as usize + FRAME;
    if length as u64 > end - at {
        return Ok(false);
    }
    let check = |frame: &[u8]| frame[4..8] == checksum(frame, salt).to_le_bytes();
    match bytes.get(..length) {
        Some(frame) => Ok(check(frame)),
        None => Ok(check(&read(file, at, length)?)),
    }
}

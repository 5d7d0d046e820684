//! The log: what stands between an ack and the tables. In come entries, in groups: messages that arrived, and what
//! became of messages. Out go extents, which say where a group stands, and the entries again, in order, for the thread
//! that files them where it does not have them in memory, for the next start after a crash, and for those who look
//! beside the writer. It promises that a group is on disk when [`Durable::commit`] returns `Ok`, and refuses one when
//! it would need a file that the tables still need and they cannot be written. It knows nothing of the tables but how
//! far they are ([`crate::journal::watermarks`]).
//!
//! A group goes through [`entry`] (fields to bytes and back), [`frame`] (length, checksum and position around them),
//! [`log`] (which file, and when), [`segment`] (one file) and comes out as an [`extent`]; [`chunk`] takes what stands
//! in a file apart again, and [`reader`] does so for those who do not write the log.
//!
//! SQLite alone was measured first (`benches/commit.rs`): the narrowest insert that it can make reaches between a third
//! and six tenths of what bare appends do, before any column that a search needs is written. So a group is appended and
//! synced here, its messages are acknowledged, and they reach the tables some milliseconds later, many in one
//! transaction that need not be synced itself, because until it is they are still here.
//!
//! # Form
//!
//! Beside a journal `j` stand the files `j-log0` and `j-log1`. Where everything was in the tables when the journal was
//! closed there are none. Each is a header and, behind it, entries without a gap. All numbers have their little end
//! first.
//!
//! ```text
//! header, 48 bytes
//!    0  "STKRLOG1"
//!    8  u64  journal      the id of the journal that it belongs to, which its tables hold too
//!   16  u64  generation   one higher each time that a file is begun
//!   24  u64  salt         32 bits of it, chosen anew each time
//!   32  u64  first        the position of the first entry
//!   40  u32  CRC-32 of bytes 0 to 39
//!   44       zeros
//!
//! frame, 16 bytes, and its entry
//!    0  u32  length       of the entry
//!    4  u32  CRC-32 of bytes 0 to 3, 8 to 15, and the entry; the salt is what it starts from
//!    8  u64  position
//!   16       the entry: see [`entry`]
//!
//! two files, the older one's generation the lower
//!   j-log0   header, generation 6, first 101 | 101 | 102 | ... | 180 | 181, of a group that failed
//!   j-log1   header, generation 7, first 181 | 181 | 182 | 183 | bytes of generation 5 | zeros
//!                                                            ^ the end
//! ```
//!
//! **Position.** Entries are counted from 1, and a position means one entry for as long as it counts: it is given to
//! another only when the first one was never committed, or was lost with a damaged file. The tables know the position
//! that they are at, and that is all that must be known to go on filing.
//!
//! **What counts.** A file whose header does not check counts as one that was never begun. In one that was begun the
//! entries count from the header on, each where the one before it ends, as long as each frame checks: all of it is
//! there, its checksum is right under the header's salt, and its position is the next one. In the older file they count
//! only up to the first position of the newer one. Everything else is void: zeros, what is left of an earlier use, what
//! a failed group left.
//!
//! **Salt.** The positions alone would not tell what is left of an earlier use from what is new, because what was never
//! synced before a crash may have positions that are now given again. With another salt the checksum of the same bytes
//! is another one, always. 28 bits of a salt are random, so a file has the salt of an earlier use once in 268 million
//! times, and even then an old frame would have to stand where a new one ends, with the next position.
//!
//! **Taking turns.** A group goes behind the last one, until it would end beyond the capacity, and then into the other
//! file, which is begun anew: a new header is written over the old one. A group that is longer than a file may be
//! stands in one by itself, whole. A file is begun anew only when everything that was committed to it is in the tables
//! and synced there; until then the commit waits, which slows the senders down, and when the tables cannot be written
//! it is refused with [`StoreError::Full`]. The header is synced with the group that follows it. Should only one of
//! them reach the disk, that group was not committed, and what the file held is not needed any more.
//!
//! **Growing.** A file grows by a mebibyte of zeros at a time and never shrinks, because the sync of bytes that were
//! there before is the cheaper one.
//!
//! # After a crash
//!
//! A group that was never synced may be on the disk whole, in part, or not at all: that is the torn end. Opening reads
//! as far as the entries count, so the first frame that does not check cuts off all that is behind it in that file.
//! What was synced before is never behind it. An entry of a group whose commit never came back may be found, though: it
//! is then filed as any other, and nobody was told that it is stored.
//!
//! The extents that the tables do not have wholly are filed before anything else is. Then the first group begins a file
//! anew, `j-log1`, so nothing is ever appended behind a torn end.
//!
//! Damage looks like a torn end. Where it struck, that entry and all behind it in that file are lost, if the tables do
//! not have them; with a header, the whole file, and with the newer one what it made void in the older file counts
//! again. When a later entry is found, in the newer file, opening says in the program's log between which positions
//! entries are missing, and goes on. When none is, nothing tells the loss from a torn end.
//!
//! # After a failed write or sync
//!
//! What the system still holds of the file cannot be known, and a second sync that succeeds would prove nothing about
//! the first. So the file is not written any more: the next group begins the other one, as soon as it may, and gets the
//! positions of the failed group. Its header makes void what was left of that group. Until that is synced a crash may
//! bring back the failed group or its beginning, so a [`StoreError`] does not promise that something is not stored.
//!
//! A disk that has no room left is the exception: the next group is tried in the same place. Whole entries of the
//! failed group may be left behind it then. Until they are written over or the file is left for the other one they
//! count for who reads, if the new group ends where one of them begins and that one's is the next position.
//!
//! # Who reads and writes
//!
//! One thread writes, of the process that holds the journal's lock ([`crate::journal::files::Lock`]). The thread that
//! files is handed each extent, and reads it where it was not handed its entries too; what stands there stays until
//! that thread says that it is synced in the tables.
//!
//! Anybody else may read beside them at any time, without a lock ([`reader`]): first the log and then the tables, so
//! that what moves from one to the other meanwhile is seen twice rather than never. The newer file is read first, and
//! the older one is left out if it was begun anew since, because what it held is in the tables then. So one sees at
//! least everything that was committed before one began. What is being written at the moment may be seen too, before it
//! is committed.

pub(super) mod extent;
pub(super) mod entry;
pub(super) mod frame;
pub(super) mod chunk;
pub(super) mod segment;
mod survey;
pub(super) mod log;
pub(super) mod reader;

use entry::LogEntry;
use extent::Extent;

use super::error::StoreError;

/// What makes a group durable: the log, and in tests a disk that fails.
pub trait Durable: Send + 'static {
    /// Puts an entry into the group.
    fn add(&mut self, entry: &LogEntry<'_>);

    /// Writes the group and syncs it. `Err`: nothing of it counts. In either case the next group is begun.
    fn commit(&mut self) -> Result<Extent, StoreError>;
}

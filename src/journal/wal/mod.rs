//! The log: what stands between an ack and the tables. In come entries, in groups: messages that arrived, and what
//! became of messages. Out go extents, which say where a group stands, and the entries again, in order, for the thread
//! that files them where it does not have them in memory, for the next start after a crash, and for those who look
//! beside the writer. It promises that a group is on disk when [`Durable::commit`] returns `Ok`, and refuses one when
//! it would need a file that the tables still need and they cannot be written. It knows nothing of the tables but how
//! far they are ([`crate::journal::watermarks`]).
//!
//! A group goes through [`entry`] (fields to bytes and back), [`frame`] (length, checksum and position around them),
//! [`log`] (which file, and when), [`segment`] (one file) and comes out as an [`extent`]; [`chunk`] takes what stands
//! in a file apart again, [`survey`] says what of it counts and what is missing, and [`reader`] does so for those who do not
//! write the log.
//!
//! SQLite alone was measured first (`benches/commit.rs`): the narrowest insert that it can make reaches between a third
//! and six tenths of what bare appends do, before any column that a search needs is written. So a group is appended and
//! synced here, its messages are acknowledged, and they reach the tables some milliseconds later, many in one
//! transaction that need not be synced itself, because until it is they are still here.
//!
//! # Form
//!
//! Beside a journal `j` stand the files `j-log0` and `j-log1`. Where everything was in the tables when the journal was
//! closed there are none. Each is a header, what it knows of the other one, and, behind both, entries without a gap. All
//! numbers have their little end first.
//!
//! ```text
//! header, 48 bytes
//!    0  "STKRLOG2"
//!    8  u64  journal      the id of the journal that it belongs to, which its tables hold too
//!   16  u64  generation   one higher each time that a file is begun
//!   24  u64  salt         32 random bits of it, chosen anew each time
//!   32  u64  first        the position of the first entry
//!   40  u32  CRC-32 of bytes 0 to 39
//!   44       zeros
//!
//! the other one, 60 bytes, from 4096 on
//!    0       the other file's header
//!   48  u64  synced       the last position in that file that is synced
//!   56  u32  CRC-32 of bytes 0 to 55
//!
//! frame, 24 bytes, and its entry; the first one begins at 8192
//!    0  u32  length       of the entry
//!    4  u32  CRC-32 of bytes 0 to 3, 8 to 23, and the entry; the salt is what it starts from
//!    8  u64  position
//!   16  u64  group        the position of the first entry of its group: everything before that was synced
//!   24       the entry: see [`entry`]
//!
//! two files, the older one's generation the lower
//!   j-log0   header, generation 6, first 101 | of j-log1: synced 183 | 101 | ... | 180 | 181, of a group that failed
//!   j-log1   header, generation 7, first 181 | of j-log0: synced 180 | 181 | 182 | 183 | bytes of generation 5 | zeros
//!                                                                                    ^ the end
//! ```
//!
//! **Position.** Entries are counted from 1, and a position means one entry for as long as it counts: it is given to
//! another only when the first one was never committed. The tables know the position that they are at, and the last one
//! that was synced when they came there; that is all that must be known to go on filing.
//!
//! **What counts.** In a file that was begun the entries count from the header on, each where the one before it ends, as
//! long as each frame checks: all of it is there, its checksum is right under the header's salt, and its position is the
//! next one. In the older file they count only up to the first position of the newer one. Behind a frame that does not
//! check, others count where the position of the one that does not was synced. Everything else is void: zeros, what is
//! left of an earlier use, what a failed group left.
//!
//! **Salt.** The positions alone would not tell what is left of an earlier use from what is new, because what was never
//! synced before a crash may have positions that are now given again. With another salt the checksum of the same bytes
//! is another one, always. A file has the salt of an earlier use once in four billion times, and even then an old frame
//! would have to stand where a new one ends, with the next position.
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
//! # What is known to have been synced
//!
//! A group that was never synced may be on the disk whole, in part, or not at all after a crash: that is the torn end. What
//! was synced is whole, or the disk has lost it. Four witnesses tell the two apart, and the last position that any of them
//! knows counts:
//! - each frame: everything before its group was synced when it was written; and the newer file's header likewise
//! - the other file, in which each commit writes down how far this one is. That is not synced: it outlives the process, and
//!   a power cut only as far as the system had written it back
//! - the tables, which write it down in each transaction
//!
//! So a single damaged entry, a damaged header and a file that is gone are always told. What damage and a power cut together
//! can hide are the last groups in the file, from the one that was begun last and those behind it: what came since the
//! system last wrote back the other file's mark, and since the last transaction of the tables that reached the disk, thirty
//! seconds at the most with the usual settings of Linux.
//!
//! # After a crash
//!
//! Opening ([`survey`]) reads as far as the entries count; at the torn end the first frame that does not check cuts off all
//! that is behind it. An entry of a group whose commit never came back may be found: it is then filed as any other, and
//! nobody was told that it is stored. A header that does not check is taken from the other file. Where a frame does not
//! check whose position was synced, the next one that does is looked for byte by byte, so damage costs the entries that it
//! struck and no others. Which positions are missing is told to who opens, and their places are not given to others.
//!
//! The extents that the tables do not have wholly are filed before anything else is. Then the first group begins a file
//! anew, `j-log1`, so nothing is ever appended behind a torn end.
//!
//! # After a failed write or sync
//!
//! What the system still holds of the file cannot be known, and a second sync that succeeds would prove nothing about
//! the first. So the file is not written any more: the next group begins the other one, as soon as it may, and gets the
//! positions of the failed group. Its header makes void what was left of that group. Until that is synced a crash may
//! bring back the failed group or its beginning, so a [`StoreError`] does not promise that something is not stored.
//!
//! A disk that has no room left is the exception: the next group is tried in the same place, after what was written of the
//! failed one has been overwritten with zeros. Where that cannot be done, it is as after any other fault.
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

//! What a sender sent before under the same control id: in the tables, or still on its way there.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::journal::error::{OpenError, ReadError};
use crate::journal::model::{Fate, Seq, Status};
use crate::journal::request::PreparedArrival;
use crate::journal::tables::open;

/// A sender that gives every message the same control id makes each look-up longer: only so many of the latest are
/// compared.
const COMPARED: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub enum Earlier {
    Same { of: Seq, fate: Fate },
    Other,
}

pub struct Dedup {
    path: PathBuf,
    /// `None` after a fault, until it is opened again.
    tables: Option<Connection>,
    /// Microseconds.
    window: i64,
    /// Not yet in the tables, by a hash of sender and control id; the latest last.
    pending: FxHashMap<u64, SmallVec<[LoggedArrival; 1]>>,
    /// In order of position.
    order: VecDeque<(u64, u64)>,
    reading: bool,
}

#[derive(Debug)]
struct LoggedArrival {
    seq: Seq,
    received: i64,
    digest: [u8; 16],
    fate: Fate,
}

impl Dedup {
    /// Of the journal at `path`.
    pub fn new(path: &Path, window: std::time::Duration) -> Result<Self, OpenError> {
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let tables = Some(open::reader(path)?);
        Ok(Self {
            path: path.into(),
            tables,
            window,
            pending: FxHashMap::default(),
            order: VecDeque::new(),
            reading: false,
        })
    }

    /// The tables have everything up to this position. To be called before the first look-up of a group.
    pub fn forget(&mut self, filed: u64) {
        while let Some((position, name)) = self.order.front()
            && *position <= filed
        {
            if let Some(of_name) = self.pending.get_mut(name) {
                of_name.remove(0);
                if of_name.is_empty() {
                    self.pending.remove(name);
                }
            }
            self.order.pop_front();
        }
        if self.order.is_empty() {
            self.order.shrink_to(1024);
            self.pending.shrink_to(1024);
        }
    }

    /// The message gets this position in the log.
    pub fn note(&mut self, position: u64, seq: Seq, intake: &PreparedArrival) {
        if intake.arrival.control_id.is_empty() {
            return;
        }
        let fate = intake.arrival.fate.clone();
        let received = intake.arrival.received.as_microsecond();
        let pending = LoggedArrival { seq, received, digest: intake.digest, fate };
        self.pending.entry(intake.name).or_default().push(pending);
        self.order.push_back((position, intake.name));
    }

    /// What came behind this position was not written.
    pub fn undo(&mut self, position: u64) {
        while let Some((last, name)) = self.order.back()
            && *last > position
        {
            if let Some(of_name) = self.pending.get_mut(name) {
                of_name.pop();
                if of_name.is_empty() {
                    self.pending.remove(name);
                }
            }
            self.order.pop_back();
        }
    }

    /// After a fault the tables are opened anew for the next look-up: what a connection believes after one cannot be known.
    ///
    /// # Errors
    /// When the tables cannot be read now.
    pub fn earlier(&mut self, intake: &PreparedArrival) -> Result<Option<Earlier>, ReadError> {
        let found = self.look_up(intake);
        if found.is_err() {
            (self.tables, self.reading) = (None, false);
        }
        found
    }

    fn look_up(&mut self, intake: &PreparedArrival) -> Result<Option<Earlier>, ReadError> {
        if intake.arrival.control_id.is_empty() {
            return Ok(None);
        }
        let since = intake.arrival.received.as_microsecond().saturating_sub(self.window);
        let mut found = None;
        let pending = self.pending.get(&intake.name).map(SmallVec::as_slice).unwrap_or_default();
        for one in pending.iter().rev().filter(|one| one.received >= since).take(COMPARED) {
            if let Some(same) = compare(intake, one.seq, &one.digest, || one.fate.clone(), &mut found) {
                return Ok(Some(same));
            }
        }
        let tables = match self.tables.take() {
            Some(tables) => tables,
            None => open::reader(&self.path)?,
        };
        let tables = self.tables.insert(tables);
        // The look-ups of a group see one state of the tables: taking it anew for each costs more than the look-up.
        if !std::mem::replace(&mut self.reading, true) {
            tables.prepare_cached("BEGIN")?.execute([])?;
        }
        Ok(Self::in_tables(tables, intake, since, found)?)
    }

    fn in_tables(
        tables: &Connection,
        intake: &PreparedArrival,
        since: i64,
        mut found: Option<Earlier>,
    ) -> rusqlite::Result<Option<Earlier>> {
        let mut statement = tables.prepare_cached(
            "SELECT seq, digest, status, reason FROM message
             WHERE control_id = ?1 AND control_id <> '' AND sender = ?2 AND received >= ?3
             ORDER BY seq DESC LIMIT ?4",
        )?;
        let arrival = &intake.arrival;
        let mut rows = statement.query(params![arrival.control_id, arrival.sender, since, COMPARED])?;
        while let Some(row) = rows.next()? {
            let (status, reason) = (Status::from_text(row.get_ref(2)?.as_str()?), row.get(3)?);
            let fate = || fate_of(status, reason);
            if let Some(same) = compare(intake, row.get(0)?, row.get_ref(1)?.as_blob()?, fate, &mut found) {
                return Ok(Some(same));
            }
        }
        Ok(found)
    }

    /// To be called after the last look-up of a group.
    pub fn end(&mut self) -> rusqlite::Result<()> {
        let ended = match &self.tables {
            Some(tables) if std::mem::take(&mut self.reading) => {
                tables.prepare_cached("COMMIT")?.execute([]).map(|_| ())
            }
            _ => Ok(()),
        };
        if ended.is_err() {
            self.tables = None;
        }
        ended
    }
}

/// Whether an earlier message is the same; notes in `found` that there was another.
fn compare(
    intake: &PreparedArrival,
    of: Seq,
    digest: &[u8],
    fate: impl FnOnce() -> Fate,
    found: &mut Option<Earlier>,
) -> Option<Earlier> {
    if digest != intake.digest {
        *found = Some(Earlier::Other);
        return None;
    }
    let fate = fate();
    (fate == Fate::Queue || intake.arrival.fate != Fate::Queue).then_some(Earlier::Same { of, fate })
}

fn fate_of(status: Status, reason: Option<String>) -> Fate {
    let reason = reason.unwrap_or_default();
    match status {
        Status::Skipped => Fate::Skip { reason },
        Status::Refused => Fate::Refuse { reason },
        _ => Fate::Queue,
    }
}

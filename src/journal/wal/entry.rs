//! What the log holds: a message that arrived, or what became of one. Both ways between memory and bytes.
//!
//! An entry is told by its fields in a fixed order: numbers in eight bytes, little end first; texts and bytes with their
//! length in four before them; what may be absent with one byte before it. A later version that needs another form gives
//! its entries other kinds.

use bytes::Buf;

use crate::journal::model::{Fate, Progress, Record, Seq, Status};

const ARRIVAL: u8 = 1;
const OUTCOME: u8 = 2;
const TOLD: u8 = 3;

const REQUEUED: u8 = 1;
const SENT: u8 = 2;
const OWES: u8 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogEntry<'a> {
    Arrival(ArrivalEntry<'a>),
    Outcome(OutcomeEntry<'a>),
    /// The sender of this message has been told its outcome.
    Told(Seq),
}

/// A message, as its row will have it. Times are microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrivalEntry<'a> {
    pub seq: Seq,
    pub received: i64,
    pub listener: &'a str,
    pub peer: &'a str,
    pub sender: &'a str,
    pub control_id: &'a str,
    pub event: Option<&'a str>,
    pub keys: &'a str,
    pub digest: &'a [u8],
    pub status: Status,
    pub reason: Option<&'a str>,
    pub raw: &'a [u8],
}

/// A [`Record`], as it changes a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeEntry<'a> {
    pub seq: Seq,
    pub at: i64,
    pub status: Status,
    /// By a person: what was tried before does not count.
    pub requeued: bool,
    pub sent: bool,
    /// The sender is to be told.
    pub owes: bool,
    pub due: Option<i64>,
    pub reason: Option<&'a str>,
    pub detail: Option<&'a str>,
    pub plan: Option<&'a str>,
    pub bundle: Option<&'a [u8]>,
}

impl<'a> From<&'a Record> for LogEntry<'a> {
    fn from(record: &'a Record) -> Self {
        match record.progress {
            Progress::Told => Self::Told(record.seq),
            _ => Self::Outcome(record.into()),
        }
    }
}

impl<'a> From<&'a Record> for OutcomeEntry<'a> {
    fn from(record: &'a Record) -> Self {
        let (status, reason, due) = match &record.progress {
            Progress::Delivered => (Status::Delivered, None, None),
            Progress::Retry { due, reason } => (Status::Retrying, Some(reason), Some(due.as_microsecond())),
            Progress::Dead { reason } => (Status::Dead, Some(reason), None),
            Progress::Skipped { reason } => (Status::Skipped, Some(reason), None),
            Progress::Requeued | Progress::Told => (Status::Received, None, None),
        };
        Self {
            seq: record.seq,
            at: record.at.as_microsecond(),
            status,
            requeued: record.progress == Progress::Requeued,
            sent: record.sent,
            owes: record.owes,
            due,
            reason: reason.map(String::as_str),
            detail: record.detail.as_deref(),
            plan: record.plan.as_deref(),
            bundle: record.bundle.as_ref().map(|id| id.as_bytes().as_slice()),
        }
    }
}

/// The status a message begins with, and why.
pub fn beginning(fate: &Fate) -> (Status, Option<&str>) {
    match fate {
        Fate::Queue => (Status::Received, None),
        Fate::Skip { reason } => (Status::Skipped, Some(reason)),
        Fate::Refuse { reason } => (Status::Refused, Some(reason)),
    }
}

impl<'a> LogEntry<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Arrival(arrived) => arrived.encode(out),
            Self::Outcome(outcome) => outcome.encode(out),
            Self::Told(seq) => {
                out.push(TOLD);
                number(out, *seq);
            }
        }
    }

    /// The message of which it says what became.
    pub fn changes(&self) -> Option<Seq> {
        match self {
            Self::Outcome(outcome) => Some(outcome.seq),
            Self::Arrival(_) | Self::Told(_) => None,
        }
    }

    /// `None` when these bytes are no entry: they were written by another program.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        match fields.byte()? {
            ARRIVAL => ArrivalEntry::decode(&mut fields).map(Self::Arrival),
            OUTCOME => OutcomeEntry::decode(&mut fields).map(Self::Outcome),
            TOLD => fields.number().map(Self::Told),
            _ => None,
        }
    }
}

impl<'a> ArrivalEntry<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.raw.len() + 512);
        out.extend([ARRIVAL, code(self.status)]);
        number(out, self.seq);
        number(out, self.received);
        for field in [self.listener, self.peer, self.sender, self.control_id, self.keys] {
            bytes(out, field.as_bytes());
        }
        option(out, self.event.map(str::as_bytes));
        option(out, self.reason.map(str::as_bytes));
        bytes(out, self.digest);
        bytes(out, self.raw);
    }

    fn decode(fields: &mut Fields<'a>) -> Option<Self> {
        let status = status(fields.byte()?)?;
        let (seq, received) = (fields.number()?, fields.number()?);
        let [listener, peer, sender, control_id, keys] =
            [fields.text()?, fields.text()?, fields.text()?, fields.text()?, fields.text()?];
        let (event, reason) = (fields.option()?, fields.option()?);
        let (event, reason) = (text_of(event)?, text_of(reason)?);
        let (digest, raw) = (fields.bytes()?, fields.bytes()?);
        Some(Self { seq, received, listener, peer, sender, control_id, event, keys, digest, status, reason, raw })
    }
}

impl<'a> OutcomeEntry<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(self.requeued, REQUEUED) | flag(self.sent, SENT) | flag(self.owes, OWES);
        out.extend([OUTCOME, code(self.status), flags]);
        number(out, self.seq);
        number(out, self.at);
        option(out, self.due.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        for field in [self.reason, self.detail, self.plan] {
            option(out, field.map(str::as_bytes));
        }
        option(out, self.bundle);
    }

    fn decode(fields: &mut Fields<'a>) -> Option<Self> {
        let status = status(fields.byte()?)?;
        let flags = fields.byte()?;
        let [requeued, sent, owes] = [REQUEUED, SENT, OWES].map(|flag| flags & flag != 0);
        let (seq, at) = (fields.number()?, fields.number()?);
        let due = match fields.option()? {
            Some(due) => Some(i64::from_le_bytes(due.try_into().ok()?)),
            None => None,
        };
        let (reason, detail, plan) = (fields.option()?, fields.option()?, fields.option()?);
        let (reason, detail, plan) = (text_of(reason)?, text_of(detail)?, text_of(plan)?);
        Some(Self { seq, at, status, requeued, sent, owes, due, reason, detail, plan, bundle: fields.option()? })
    }
}

/// Its place in [`Status::ALL`], which is only ever added to at its end.
fn code(status: Status) -> u8 {
    Status::ALL.iter().position(|one| *one == status).map_or(u8::MAX, |at| at as u8)
}

fn status(code: u8) -> Option<Status> {
    Status::ALL.get(usize::from(code)).copied()
}

fn number(out: &mut Vec<u8>, number: i64) {
    out.extend(number.to_le_bytes());
}

/// Nothing here comes near four gigabytes: frames and answers are bounded long before.
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn option(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        bytes(out, value);
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn number(&mut self) -> Option<i64> {
        self.0.try_get_i64_le().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.0.try_get_u32_le().ok()? as usize;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn option(&mut self) -> Option<Option<&'a [u8]>> {
        match self.byte()? {
            0 => Some(None),
            _ => self.bytes().map(Some),
        }
    }
}

/// `None` where it is no text, `Some(None)` where there is none.
#[allow(clippy::option_option)]
fn text_of(field: Option<&[u8]>) -> Option<Option<&str>> {
    match field {
        Some(field) => std::str::from_utf8(field).ok().map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statuses() -> impl Strategy<Value = Status> {
        (0..Status::ALL.len()).prop_map(|at| Status::ALL[at])
    }

    fn back(entry: &LogEntry<'_>) {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(LogEntry::decode(&bytes).as_ref(), Some(entry));
        for cut in [bytes.len() / 3, bytes.len() - 1] {
            assert_eq!(LogEntry::decode(&bytes[..cut]), None, "an entry that was cut short is none");
        }
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(
            (seq, received) in any::<(i64, i64)>(), texts in any::<[String; 5]>(), event in any::<Option<String>>(),
            reason in any::<Option<String>>(), raw in any::<Vec<u8>>(), digest in any::<[u8; 16]>(), status in statuses(),
        ) {
            let [listener, peer, sender, control_id, keys] = texts.each_ref().map(String::as_str);
            back(&LogEntry::Arrival(ArrivalEntry {
                seq, received, listener, peer, sender, control_id, keys, digest: &digest, status,
                event: event.as_deref(), reason: reason.as_deref(), raw: &raw,
            }));
        }

        #[test]
        fn an_outcome_comes_back_as_it_was(
            (seq, at, due) in any::<(i64, i64, Option<i64>)>(), (requeued, sent, owes) in any::<(bool, bool, bool)>(),
            texts in any::<[Option<String>; 3]>(), bundle in any::<Option<[u8; 16]>>(), status in statuses(),
        ) {
            let [reason, detail, plan] = texts.each_ref().map(Option::as_deref);
            let bundle = bundle.as_ref().map(<[u8; 16]>::as_slice);
            back(&LogEntry::Told(seq));
            back(&LogEntry::Outcome(OutcomeEntry { seq, at, status, requeued, sent, owes, due, reason, detail, plan, bundle }));
        }
    }
}

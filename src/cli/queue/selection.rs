//! Which messages a command is about: by their numbers, or by what they are.

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use crate::cli::terminal::moment;
use crate::journal::{Query, Reader, Row, Seq, Status};

/// Rows read at a time.
const PAGE: usize = 1_000;

#[derive(Debug, Default, Args)]
pub struct Selection {
    /// Messages by their numbers in the journal, as `queue list` shows them
    #[arg(value_name = "NUMBER")]
    numbers: Vec<Seq>,
    /// Of this patient: a number, or AUTHORITY|NUMBER
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Of this visit: a number, or AUTHORITY|NUMBER
    #[arg(long, value_name = "ID")]
    visit: Option<String>,
    /// With this control id (MSH-10)
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    /// Of this event, as in A08
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// From this source: the name of the listener
    #[arg(long, value_name = "LISTENER")]
    source: Option<String>,
    /// In one of these states: received, retrying, delivered, dead, skipped, refused
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<Status>,
    /// Received since: 2h (so long ago), 2026-11-20, 2026-11-20T08:00
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    since: Option<Time>,
    /// Received before; written as --since
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    until: Option<Time>,
}

/// A time, and how it was typed.
#[derive(Debug, Clone)]
struct Time {
    text: String,
    at: Timestamp,
}

impl Time {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), at: moment::parse(text)? })
    }
}

impl Selection {
    pub fn is_empty(&self) -> bool {
        self.typed().is_empty()
    }

    fn by_number(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// As it was typed, for the record.
    pub fn typed(&self) -> String {
        self.numbers.iter().map(ToString::to_string).chain(self.filters()).collect::<Vec<_>>().join(" ")
    }

    /// For commands that do something: nothing chosen means all only where that is said.
    pub fn must_say_which(&self, all: bool) -> anyhow::Result<()> {
        if self.is_empty() && !all {
            bail!("say which: numbers, --patient, --status, --since ..., or --all");
        }
        Ok(())
    }

    /// With the options that go with it.
    pub fn typed_with(&self, all: bool, limit: Option<usize>) -> String {
        let options = [all.then(|| "--all".to_owned()), limit.map(|limit| format!("--limit {limit}"))];
        let selection = Some(self.typed()).filter(|typed| !typed.is_empty());
        selection.into_iter().chain(options.into_iter().flatten()).collect::<Vec<_>>().join(" ")
    }

    fn filters(&self) -> Vec<String> {
        let statuses = self.status.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(",");
        let time = |time: &Option<Time>| time.as_ref().map(|time| time.text.clone());
        let options = [
            ("patient", self.patient.clone()),
            ("visit", self.visit.clone()),
            ("control-id", self.control_id.clone()),
            ("event", self.event.clone()),
            ("source", self.source.clone()),
            ("status", Some(statuses).filter(|s| !s.is_empty())),
            ("since", time(&self.since)),
            ("until", time(&self.until)),
        ];
        options.into_iter().filter_map(|(name, value)| Some(format!("--{name} {}", value?))).collect()
    }

    /// Hands on every message that is meant; those of one status the newest first. `statuses` where none is named.
    pub fn each(
        &self,
        reader: &Reader,
        statuses: &[Status],
        mut take: impl FnMut(Row) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.by_number() {
            return self.numbered(reader)?.into_iter().try_for_each(take);
        }
        for query in self.queries(statuses, PAGE) {
            let mut query = query;
            loop {
                let page = reader.search(&query)?;
                let full = page.len() == PAGE;
                query.after = page.last().map(Row::place);
                page.into_iter().try_for_each(&mut take)?;
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The newest `limit` of those that are meant, the newest first, and whether there are more.
    pub fn newest(&self, reader: &Reader, limit: usize) -> anyhow::Result<(Vec<Row>, bool)> {
        let mut rows = Vec::new();
        if self.by_number() {
            rows = self.numbered(reader)?;
        } else {
            for query in self.queries(&[], limit.saturating_add(1)) {
                rows.extend(reader.search(&query)?);
            }
        }
        rows.sort_by_key(|row| std::cmp::Reverse((row.received, row.seq)));
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }

    fn numbered(&self, reader: &Reader) -> anyhow::Result<Vec<Row>> {
        if !self.filters().is_empty() {
            bail!("name messages by their numbers, or by what they are, not both");
        }
        let row = |seq: &Seq| reader.row(*seq)?.with_context(|| format!("the journal holds no message {seq}"));
        self.numbers.iter().map(row).collect()
    }

    fn queries(&self, statuses: &[Status], limit: usize) -> Vec<Query> {
        let query = |status| Query {
            patient: self.patient.clone(),
            visit: self.visit.clone(),
            control_id: self.control_id.clone(),
            event: self.event.clone(),
            status,
            listener: self.source.clone(),
            from: self.since.as_ref().map(|time| time.at),
            until: self.until.as_ref().map(|time| time.at),
            after: None,
            limit,
        };
        let mut statuses = if self.status.is_empty() { statuses } else { &self.status[..] }.to_vec();
        statuses.sort_unstable_by_key(|status| status.as_str());
        statuses.dedup();
        if statuses.is_empty() { vec![query(None)] } else { statuses.into_iter().map(|s| query(Some(s))).collect() }
    }
}

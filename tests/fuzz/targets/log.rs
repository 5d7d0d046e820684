//! The journal's log, damaged in any way: what is read of it stood there before, at the same position, or is not read.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use stoker::journal::{
    Arrival, Fate, Journal, JournalConfig, LogEntry, Progress, Query, Reader, Record, Stored, read_log,
};
use tempfile::TempDir;

/// A damage: what, in which file and where, how much of it, with what.
type Damage = (u8, u16, u16, u8);

fuzz_target!(|input: (u8, Vec<Damage>, &[u8])| {
    let (which, damages, bytes) = input;
    if let Some(entry) = LogEntry::decode(bytes) {
        let mut again = Vec::new();
        entry.encode(&mut again);
        assert_eq!(LogEntry::decode(&again), Some(entry), "an entry is another one when it is written again");
    }
    let crash = &CRASHES[usize::from(which % 2)];
    let mut files = crash.files.clone();
    damages.iter().for_each(|damage| strike(&mut files, damage, bytes));
    if which & 4 != 0 {
        files[0] = Some(bytes.to_vec());
    }
    crash.write(&files);
    if let Ok(Ok(standing)) = read_log(&crash.path(), crash.id, 0, |position, bytes| (position, bytes.to_vec())) {
        let found: BTreeMap<u64, Vec<u8>> = standing.entries.iter().cloned().collect();
        let positions: Vec<u64> = standing.entries.iter().map(|(position, _)| *position).collect();
        assert!(positions.is_sorted_by(|before, after| before < after), "out of order: {positions:?}");
        for (position, bytes) in &found {
            assert_eq!(crash.entries.get(position), Some(bytes), "the entry {position} is not what was written");
        }
        if which & 4 == 0 && damages.len() == 1 && damages[0].0 % 16 <= 4 {
            crash.one_byte_costs_one_entry(&found, standing.synced);
        }
    }
    // Opening takes a hundred times as long.
    if which >= 240 {
        crash.open();
    }
});

static CRASHES: LazyLock<[Crash; 2]> = LazyLock::new(|| [Crash::new(64 << 20), Crash::new(6 << 10)]);

/// What a crash left: a journal that has filed nothing, or not everything, and the log beside it.
struct Crash {
    folder: TempDir,
    id: u64,
    tables: Vec<u8>,
    files: [Option<Vec<u8>>; 2],
    entries: BTreeMap<u64, Vec<u8>>,
    /// The messages, by their control ids.
    messages: BTreeMap<String, Vec<u8>>,
}

impl Crash {
    /// With a log whose files may have so many bytes: with few, both are in use and were begun more than once.
    fn new(log_size: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = TempDir::new_in(memory()).unwrap();
        let config = JournalConfig { log_size, ..config(&folder.path().join("journal.db")) };
        // Once opened and closed, the tables are whole and empty.
        runtime.block_on(async { drop(Journal::open(&config).unwrap()) });
        let mut tables = std::fs::read(&config.path).unwrap();
        let mut messages = BTreeMap::new();
        let files = runtime.block_on(async {
            let journal = Journal::open(&config).unwrap();
            for n in 0..60 {
                let arrival = arrival(n);
                messages.insert(arrival.control_id.clone(), arrival.raw.to_vec());
                let Ok(Stored::New { seq }) = journal.store(arrival).await else { panic!("not stored") };
                if n % 3 == 0 {
                    let progress = Progress::Dead { reason: "an example".into() };
                    let record = Record {
                        seq,
                        at: Timestamp::UNIX_EPOCH,
                        progress,
                        sent: true,
                        owes: false,
                        detail: None,
                        plan: None,
                        bundle: None,
                    };
                    journal.record(record).await.unwrap();
                }
            }
            let files = [0, 1].map(|n| std::fs::read(name(&config.path, n)).ok().map(used));
            if log_size < 1 << 20 {
                // What came before the two files that are left was filed, and synced.
                stoker::journal::backup(&config.path, &folder.path().join("backup.db"), |_, _| {}).unwrap();
                tables = std::fs::read(folder.path().join("backup.db")).unwrap();
            }
            files
        });
        // One of the two may not have been begun: it has zeros there.
        let ids = files.iter().flatten().map(|file| u64::from_le_bytes(file[8..16].try_into().unwrap()));
        let id = ids.max().unwrap();
        let mut crash = Self { folder, id, tables, files, entries: BTreeMap::new(), messages };
        crash.write(&crash.files);
        let standing = read_log(&crash.path(), id, 0, |position, bytes| (position, bytes.to_vec())).unwrap().unwrap();
        crash.entries = standing.entries.into_iter().collect();
        assert!(crash.entries.len() > 5, "{} entries", crash.entries.len());
        crash
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("damaged.db")
    }

    fn write(&self, files: &[Option<Vec<u8>>; 2]) {
        for (n, file) in files.iter().enumerate() {
            let name = name(&self.path(), n);
            match file {
                Some(bytes) => std::fs::write(name, bytes).unwrap(),
                None => drop(std::fs::remove_file(name)),
            }
        }
    }

    /// And that one is known to be missing, unless it is the last: nobody can tell that from one that was never written.
    fn one_byte_costs_one_entry(&self, found: &BTreeMap<u64, Vec<u8>>, synced: u64) {
        let lost: Vec<u64> = self.entries.keys().filter(|position| !found.contains_key(position)).copied().collect();
        assert!(lost.len() <= 1, "one byte costs {lost:?}");
        let last = self.entries.last_key_value().map_or(0, |(position, _)| *position);
        assert!(
            lost.iter().all(|&lost| lost <= synced || lost == last),
            "{lost:?} of {last} is lost in silence: {synced}"
        );
    }

    /// Whatever is found, each message is one that was stored.
    fn open(&self) {
        let path = self.path();
        for suffix in ["-wal", "-shm", ".lock"] {
            drop(std::fs::remove_file(beside(&path, suffix)));
        }
        std::fs::write(&path, &self.tables).unwrap();
        drop(Journal::open(&config(&path)));
        let Ok(reader) = Reader::open(&path) else { return };
        for row in reader.search(&Query::default()).unwrap() {
            let body = reader.body(row.seq).unwrap();
            let stored = self.messages.get(&row.control_id);
            assert_eq!(body.as_deref(), stored.map(Vec::as_slice), "a message was made up");
        }
    }
}

fn config(path: &Path) -> JournalConfig {
    JournalConfig { path: path.into(), min_free: 0, readers: 1, ..JournalConfig::default() }
}

/// A folder that is in memory where there is one: a disk would be the slowest part by far.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { std::env::temp_dir() }
}

fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn name(journal: &Path, n: usize) -> PathBuf {
    beside(journal, &format!("-log{n}"))
}

/// Without the zeros that it grew by, but for some.
fn used(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    file.truncate(end + 64);
    file
}

fn arrival(n: u64) -> Arrival {
    let text = "x".repeat((n % 7 * 20) as usize);
    Arrival {
        listener: "adt".into(),
        peer: ([127, 0, 0, 1], 4711).into(),
        received: Timestamp::UNIX_EPOCH,
        raw: format!("MSH|^~\\&|APP|HOSP|||202601100800||ADT^A01|{n}|P|2.5\rPID|1||42||{text}\r").into_bytes().into(),
        control_id: n.to_string(),
        sender: "HOSP|APP".into(),
        event: Some("A01".into()),
        keys: Vec::new(),
        fate: Fate::Queue,
        parsed: None,
    }
}

fn strike(files: &mut [Option<Vec<u8>>; 2], &(what, at, length, value): &Damage, bytes: &[u8]) {
    if what % 16 == 15 {
        return files.swap(0, 1);
    }
    let Some(file) = &mut files[usize::from(what >> 7)] else { return };
    if file.is_empty() {
        return;
    }
    let at = usize::from(at) % file.len();
    let until = (at + usize::from(length)).min(file.len());
    match what % 16 {
        0..=2 => file[at] ^= 1 << (value % 8),
        3..=4 => file[at] = value,
        5 => file[at..until].fill(value),
        6 => file.truncate(at),
        7 => {
            let copy = file[at..until].to_vec();
            let to = usize::from(value) * 97 % file.len();
            let end = (to + copy.len()).min(file.len());
            file[to..end].copy_from_slice(&copy[..end - to]);
        }
        8 => drop(file.drain(at..until)),
        9 => file.extend(bytes),
        10 => {
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
        }
        // A header that checks, whatever it says.
        11..=12 if file.len() >= 48 => {
            file[16 + usize::from(value) % 24] = length as u8;
            let checksum = crc32(&file[..40]);
            file[40..44].copy_from_slice(&checksum.to_le_bytes());
        }
        13 => file.resize(file.len() + usize::from(length), value),
        _ => files[usize::from(what >> 7)] = None,
    }
}

/// Bit by bit: no way of making one is shared with what is tried.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

//! Files of any length through all cores, in constant memory, the order kept.
//!
//! One thread reads and hands out batches of messages, one thread a core converts them, and the caller's thread gets
//! what each batch came to in the order in which the batches were read. Both queues are bounded, so a slow taker slows
//! the reader down. When the taker stops, everything does.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crossbeam_channel::{Sender, bounded};

use super::super::input;
use crate::v2::batch::FoundMessage;

/// A batch ends at so many messages, or at so many bytes: enough that a hand-over costs nothing, few enough that the
/// batches on their way fit into a small memory.
const MESSAGES: usize = 64;
const BYTES: usize = 256 << 10;

/// What was read together.
pub struct Batch {
    pub path: Arc<Path>,
    /// Messages, and what is none and why.
    pub items: Vec<Result<FoundMessage, String>>,
    /// How far the files have been read, in bytes.
    pub read: u64,
}

/// A batch and where its result goes.
struct Job<D> {
    batch: Batch,
    done: SyncSender<D>,
}

/// Reads the files, has `work` done for each batch by as many threads as there are cores, and gives the results to `take`
/// in order until it breaks off.
///
/// # Errors
/// What `take` broke off with.
pub fn through<D: Send, B>(
    files: &[PathBuf],
    work: impl Fn(Batch) -> D + Sync,
    mut take: impl FnMut(D) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (jobs, queue) = bounded::<Job<D>>(2 * workers);
    let (order, results) = sync_channel::<Receiver<D>>(4 * workers);
    thread::scope(|scope| {
        scope.spawn(move || read(files, &jobs, &order));
        for _ in 0..workers {
            let queue = queue.clone();
            scope.spawn(|| {
                for Job { batch, done } in queue {
                    if done.send(work(batch)).is_err() {
                        return; // nobody takes results any more
                    }
                }
            });
        }
        drop(queue);
        // A result that never comes is that of a worker which panicked; the scope hands the panic on.
        let outcome = results.iter().map_while(|result| result.recv().ok()).try_for_each(&mut take);
        // The reader and the workers end when they find nobody at the other end.
        drop(results);
        outcome
    })
}

fn read<D>(files: &[PathBuf], jobs: &Sender<Job<D>>, order: &SyncSender<Receiver<D>>) {
    let mut reader =
        FileReader { jobs, order, path: Path::new("").into(), items: Vec::new(), bytes: 0, before: 0, read: 0 };
    let ended = input::walk(files, |path, item| reader.add(path, item));
    if ended.is_continue() {
        // Whether anybody takes the last batch is of no interest any more.
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) = reader.hand_out();
    }
}

struct FileReader<'q, D> {
    jobs: &'q Sender<Job<D>>,
    order: &'q SyncSender<Receiver<D>>,
    path: Arc<Path>,
    items: Vec<Result<FoundMessage, String>>,
    /// Of the messages in `items`.
    bytes: usize,
    /// Of the files before this one.
    before: u64,
    read: u64,
}

impl<D> FileReader<'_, D> {
    fn add(&mut self, path: &Path, item: Result<FoundMessage, String>) -> ControlFlow<()> {
        if *self.path != *path {
            self.hand_out()?;
            self.path = path.into();
            self.before = self.read;
        }
        if let Ok(found) = &item {
            self.bytes += found.raw.len();
            self.read = self.before + found.offset + found.raw.len() as u64;
        }
        self.items.push(item);
        if self.items.len() >= MESSAGES || self.bytes >= BYTES { self.hand_out() } else { ControlFlow::Continue(()) }
    }

    fn hand_out(&mut self) -> ControlFlow<()> {
        if self.items.is_empty() {
            return ControlFlow::Continue(());
        }
        self.bytes = 0;
        let items = std::mem::replace(&mut self.items, Vec::with_capacity(MESSAGES));
        let (done, result) = sync_channel(1);
        let job = Job { batch: Batch { path: Arc::clone(&self.path), items, read: self.read }, done };
        let sent = self.order.send(result).is_ok() && self.jobs.send(job).is_ok();
        if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(messages: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.hl7");
        let text: String = (0..messages).map(|n| format!("MSH|^~\\&|A|F|||2026||ADT^A01|{n}|P|2.5\rPID|1\r")).collect();
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn numbers(batch: Batch) -> Vec<u64> {
        // The sooner a batch was read, the longer it takes.
        let first = batch.items.first().and_then(|item| item.as_ref().ok()).map_or(0, |found| found.number);
        thread::sleep(std::time::Duration::from_millis(5_u64.saturating_sub(first / 64)));
        batch.items.into_iter().filter_map(Result::ok).map(|found| found.number).collect()
    }

    #[test]
    fn results_come_in_the_order_of_the_messages_whichever_is_done_first() {
        let (_folder, path) = file(1000);
        let mut taken = Vec::new();
        let ended = through(&[path], numbers, |numbers| -> ControlFlow<()> {
            taken.extend(numbers);
            ControlFlow::Continue(())
        });
        assert!(ended.is_continue());
        assert_eq!(taken, (1..=1000).collect::<Vec<u64>>());
    }

    #[test]
    fn a_taker_that_breaks_off_ends_reading_and_converting() {
        let (_folder, path) = file(50_000);
        let converted = std::sync::atomic::AtomicUsize::new(0);
        let work = |batch: Batch| converted.fetch_add(batch.items.len(), std::sync::atomic::Ordering::Relaxed);
        let ended = through(&[path], work, |_| ControlFlow::Break("enough"));
        assert_eq!(ended, ControlFlow::Break("enough"));
        assert!(converted.into_inner() < 25_000, "what was on its way and no more");
    }
}

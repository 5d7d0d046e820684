//! Where messages are mapped, so that none keeps others waiting.
//!
//! The threads that serve sockets map what is short: at most [`BRIEF_BYTES`] long and done within [`BRIEF_STEPS`] steps of
//! work, which takes less than a millisecond. How long a message takes its size does not tell (18,000 doctors fit into 36
//! KiB), so that it is tried, and given up when it is not done by then. All others are mapped on threads of their own, a few
//! at a time. Such a thread cannot be stopped: what is still being mapped when the process ends is named and left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::journal::Parsed;
use crate::mapping::{Context, ConvertError, Converted, Plan, convert, convert_inbound};
use crate::v2::Inbound;

/// The longest message that is read or mapped on a thread that serves sockets.
pub const BRIEF_BYTES: usize = 32 << 10;

/// How many steps its mapping may take there.
pub const BRIEF_STEPS: u64 = 15_000;

/// A Bundle longer than this keeps its place among those being mapped until it has been delivered: memory for few is enough.
const LARGE_BUNDLE: usize = 1 << 20;

/// A message to be mapped.
#[derive(Clone)]
pub struct Mappable {
    pub raw: Bytes,
    /// What the listener has made of it, where that is still in memory.
    pub parsed: Option<Parsed>,
    pub context: Context,
}

/// Makes a Bundle of a message: [`map`], unless a test wants another.
pub type Mapping = fn(&Plan, &[u8], Option<&Parsed>, &Context) -> Result<Converted, ConvertError>;

/// Maps what the listener has made of a message, where that is still in memory, else its bytes.
///
/// # Errors
/// Why it becomes no Bundle.
pub fn map(plan: &Plan, raw: &[u8], parsed: Option<&Parsed>, context: &Context) -> Result<Converted, ConvertError> {
    match parsed.and_then(|parsed| parsed.made.downcast_ref::<Inbound>()) {
        Some(inbound) => convert_inbound(plan, inbound, context),
        None => convert(plan, raw, context),
    }
}

/// Maps messages: what is short at once, what takes long aside. Clones share the places there.
#[derive(Debug, Clone)]
pub struct Mapper {
    map: Mapping,
    places: Arc<Semaphore>,
    /// What is being mapped, by the names given.
    under_way: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A long mapping's outcome, and its place among those being mapped.
pub struct MappedAtLength {
    pub converted: Result<Converted, String>,
    /// Goes when it is dropped.
    pub place: Option<OwnedSemaphorePermit>,
}

impl Default for Mapper {
    fn default() -> Self {
        Self::with(map)
    }
}

/// Half of the processors, for others go before; two at least, so that one message that never ends stops no other.
fn threads() -> usize {
    let all = std::thread::available_parallelism().map_or(2, usize::from);
    (all / 2).clamp(2, 8)
}

impl Mapper {
    /// By this in place of [`map`].
    #[must_use]
    pub fn with(map: Mapping) -> Self {
        Self { map, places: Arc::new(Semaphore::new(threads())), under_way: Arc::default() }
    }

    /// Maps a message here and now; `None` where that takes longer than it may here.
    #[must_use]
    pub fn briefly(&self, plan: &Plan, message: &Mappable) -> Option<Result<Converted, ConvertError>> {
        if message.raw.len() > BRIEF_BYTES {
            return None;
        }
        let most = message.context.budget.unwrap_or(plan.budget());
        let context = Context { budget: Some(most.min(BRIEF_STEPS)), ..message.context.clone() };
        match (self.map)(plan, &message.raw, message.parsed.as_ref(), &context) {
            Err(ConvertError::OverBudget { limit }) if limit < most => None,
            mapped => Some(mapped),
        }
    }

    /// Maps a message on a thread of its own, when there is one. `name` is what it is called should it never end.
    pub async fn at_length(&self, plan: Arc<Plan>, message: Mappable, name: String) -> MappedAtLength {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let going = Going::begin(&self.under_way, name);
        // The place goes with the thread: whoever waits for it may be gone before the work is done.
        let map = self.map;
        let mapping = tokio::task::spawn_blocking(move || {
            let mapped = map(&plan, &message.raw, message.parsed.as_ref(), &message.context);
            drop(going);
            (mapped, place)
        });
        let Ok((mapped, place)) = mapping.await else {
            let broken = "internal fault: the mapping broke off; please report it".to_owned();
            return MappedAtLength { converted: Err(broken), place: None };
        };
        let large = mapped.as_ref().is_ok_and(|converted| converted.body.len() > LARGE_BUNDLE);
        MappedAtLength { converted: mapped.map_err(|error| error.to_string()), place: place.filter(|_| large) }
    }

    /// What is being mapped on threads of its own.
    #[must_use]
    pub fn under_way(&self) -> Vec<String> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// A mapping under way, told as such until it is dropped.
struct Going {
    all: Arc<Mutex<BTreeMap<String, usize>>>,
    name: String,
}

impl Going {
    fn begin(all: &Arc<Mutex<BTreeMap<String, usize>>>, name: String) -> Self {
        *all.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default() += 1;
        Self { all: Arc::clone(all), name }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.name);
            }
        }
    }
}

/// Reads long messages aside: a few at a time, and not on a thread that others wait for.
#[derive(Debug)]
pub struct ReadingRoom {
    free: Mutex<usize>,
    left: Condvar,
}

impl Default for ReadingRoom {
    fn default() -> Self {
        Self { free: Mutex::new(threads()), left: Condvar::new() }
    }
}

impl ReadingRoom {
    /// Does work on a message of so many bytes: here where it is short, else so that the sockets of this thread are served
    /// by another.
    pub fn read<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        let others = Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
        if bytes <= BRIEF_BYTES || !others {
            return work();
        }
        tokio::task::block_in_place(|| {
            let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let mut free = self.left.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
            *free -= 1;
            drop(free);
            let _place = Place(self);
            work()
        })
    }
}

struct Place<'r>(&'r ReadingRoom);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests;

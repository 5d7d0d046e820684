//! Steps: comparisons, lookups, visits of nodes, rows and statements, counted by the thread that takes them.
//!
//! Tests count them, to see that the work for a message grows as the message does and no faster. In a build that is no test
//! nothing is counted.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local!(static TAKEN: Cell<u64> = const { Cell::new(0) });

/// Notes that `count` steps are taken.
#[inline(always)]
pub fn take(count: usize) {
    #[cfg(test)]
    TAKEN.set(TAKEN.get() + count as u64);
    #[cfg(not(test))]
    let _: usize = count;
}

/// `items`, each of which is a step for whoever looks at it.
pub fn each<I: Iterator>(items: I) -> impl Iterator<Item = I::Item> {
    items.inspect(|_| take(1))
}

/// The steps that `work` takes on this thread.
#[cfg(test)]
pub fn of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = TAKEN.get();
    let done = work();
    (done, TAKEN.get() - before)
}

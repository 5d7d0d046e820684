//! What the work for one message costs, counted in steps, and how much of it there may be.
//!
//! A sender chooses how often a message repeats something, so no work may take longer than in proportion to that, and none
//! may go on for ever. Whoever does work that a sender can multiply counts it here where it is done: a value read, a rule
//! tried, two elements compared, sixteen bytes looked at. [`within`] gives the work of one message a limit; who walks asks
//! [`is_spent`] and stops. Steps are counted and not timed, so that the same message costs the same on every machine.
//!
//! The count is the thread's own: a message is worked on by one thread at a time, and a parameter through every comparison
//! of two elements would say no more.

use std::cell::Cell;

/// Bytes that are looked at or copied in one step.
const BYTES: usize = 16;

thread_local! {
    static DONE: Cell<u64> = const { Cell::new(0) };
    static LIMIT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Counts steps of work that has been done, or is about to be.
#[inline]
pub fn steps(count: usize) {
    DONE.set(DONE.get().wrapping_add(count as u64));
}

/// Counts a text that is looked at or copied.
#[inline]
pub fn text(length: usize) {
    steps(1 + length / BYTES);
}

/// Whether more has been done than may be.
#[inline]
#[must_use]
pub fn is_spent() -> bool {
    DONE.get() > LIMIT.get()
}

/// Does work that may take `limit` steps; how many it took. Who does it has to ask [`is_spent`] and end.
pub fn within<T>(limit: u64, work: impl FnOnce() -> T) -> (T, u64) {
    let outer = Outer { done: DONE.replace(0), limit: LIMIT.replace(limit) };
    let made = work();
    let done = DONE.get();
    drop(outer);
    (made, done)
}

/// The count around a piece of work, which goes on behind it, however that ends.
struct Outer {
    done: u64,
    limit: u64,
}

impl Drop for Outer {
    fn drop(&mut self) {
        DONE.set(self.done.wrapping_add(DONE.get()));
        LIMIT.set(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_within_work_is_counted_in_both_and_limited_by_the_inner() {
        let ((inner, done), all) = within(100, || {
            steps(10);
            within(5, || {
                steps(7);
                is_spent()
            })
        });
        assert_eq!((inner, done, all), (true, 7, 17));
        assert!(!is_spent());
    }

    #[test]
    fn a_panic_leaves_no_limit_behind() {
        let broken = std::panic::catch_unwind(|| within(1, || panic!("as a bug would")));
        steps(10);
        assert!(broken.is_err() && !is_spent());
    }
}

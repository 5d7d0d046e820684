//! Tasks that are under way, each with something that must come back however it ends: by a panic too.
//!
//! The engine's worker and a replay from files both send messages so; what they hold is the ticket of the queue, without
//! which the later messages of a patient would wait for ever. The rest of the two loops has little in common: the one has a
//! journal, a circuit, dead letters and people who ask, the other a file, a pace and an end.

use std::collections::HashMap;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};

#[derive(Debug)]
pub(super) struct UnderWay<H, T> {
    tasks: JoinSet<T>,
    held: HashMap<Id, H>,
}

impl<H, T> Default for UnderWay<H, T> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), held: HashMap::new() }
    }
}

impl<H, T: Send + 'static> UnderWay<H, T> {
    pub fn start(&mut self, held: H, task: impl Future<Output = T> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.held.insert(task.id(), held);
    }

    /// The next that ends, with what it held; `None` when none is under way. Loses nothing when it is dropped before it is
    /// ready.
    pub async fn ended(&mut self) -> Option<(H, Result<T, JoinError>)> {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            if let Some(held) = self.held.remove(&id) {
                return Some((held, ended.map(|(_, result)| result)));
            }
        }
        None
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn held(&self) -> impl Iterator<Item = &H> {
        self.held.values()
    }

    pub fn abort_all(&mut self) {
        self.tasks.abort_all();
    }
}

/// Waits until then; for ever where there is nothing to wait for.
pub(super) async fn wake_at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_comes_back_from_a_panic_too() {
        let mut under_way = UnderWay::default();
        under_way.start("ends", async { 1 });
        under_way.start("panics", async { panic!("as a bug would") });
        let mut ended = Vec::new();
        while let Some((held, result)) = under_way.ended().await {
            ended.push((held, result.ok()));
        }
        ended.sort_unstable();
        assert_eq!(ended, [("ends", Some(1)), ("panics", None)]);
        assert!(under_way.is_empty());
    }
}

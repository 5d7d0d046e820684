//! Items by number, where numbers are small and used again.

/// Slots are held in blocks of so many, as a shift: a queue that grows by a million is not copied each time it has
/// doubled, and never holds twice the memory that it needs.
const SHIFT: u32 = 14;
const BLOCK: usize = 1 << SHIFT;

/// Numbered slots, used again when they are free.
#[derive(Debug)]
pub(super) struct Slab<T> {
    /// All full but the last.
    blocks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Slots that are held ready, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// All slots, the free ones with what was left in them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.slots() - self.free.len()
    }

    fn slots(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    /// Four thousand million messages do not fit into memory before they run out of numbers.
    pub(super) fn add(&mut self, item: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self[slot] = item;
            return slot;
        }
        let slot = self.slots() as u32;
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(item),
            _ => {
                // The first grows with what is in it: most queues are short.
                let mut block = if self.blocks.is_empty() { Vec::new() } else { Vec::with_capacity(BLOCK) };
                block.push(item);
                self.blocks.push(block);
            }
        }
        slot
    }

    /// Frees a slot and leaves `vacant` in it.
    pub(super) fn remove(&mut self, slot: u32, vacant: T) -> T {
        self.free.push(slot);
        std::mem::replace(&mut self[slot], vacant)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.blocks[(slot >> SHIFT) as usize][slot as usize % BLOCK]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.blocks[(slot >> SHIFT) as usize][slot as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_across_blocks() {
        let mut slab = Slab::default();
        let count = 2 * BLOCK + 5;
        for n in 0..count {
            assert_eq!(slab.add(n) as usize, n);
        }
        assert_eq!((slab.len(), slab[BLOCK as u32], slab.iter().count()), (count, BLOCK, count));
        assert_eq!(slab.remove(BLOCK as u32 - 1, 0), BLOCK - 1);
        assert_eq!(slab.len(), count - 1);
        assert_eq!(slab.add(7) as usize, BLOCK - 1);
        assert_eq!(slab.add(8) as usize, count);
    }
}

//! Items by number, where numbers are small and used again.

/// Numbered slots, used again when they are free.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Slots that are held ready, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// All slots, the free ones with what was left in them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Four thousand million messages do not fit into memory before they run out of numbers.
    pub(super) fn add(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = item;
                slot
            }
            None => {
                self.slots.push(item);
                self.slots.len() as u32 - 1
            }
        }
    }

    /// Frees a slot and leaves `vacant` in it.
    pub(super) fn remove(&mut self, slot: u32, vacant: T) -> T {
        self.free.push(slot);
        std::mem::replace(&mut self.slots[slot as usize], vacant)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.slots[slot as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.slots[slot as usize]
    }
}

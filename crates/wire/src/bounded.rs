//! A short list that lives in line and is `Copy`: header options are handed around by value.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// Up to `N` items in line (`N` at most 255). Dereferences to a slice.
#[derive(Clone, Copy)]
pub struct Bounded<T, const N: usize> {
    len: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Bounded<T, N> {
    /// An empty list.
    pub fn new() -> Self {
        const { assert!(N <= 255, "the length is kept in a byte") };
        Bounded { len: 0, items: [T::default(); N] }
    }

    /// Appends `item` and says whether there was room for it.
    pub fn push(&mut self, item: T) -> bool {
        let Some(slot) = self.items.get_mut(self.len as usize) else { return false };
        *slot = item;
        self.len += 1;
        true
    }

    /// A list of the first `N` of `items`.
    pub fn from_slice(items: &[T]) -> Self {
        let mut list = Self::new();
        let kept = items.len().min(N);
        list.items[..kept].copy_from_slice(&items[..kept]);
        list.len = kept as u8;
        list
    }

    /// Drops all items behind the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len.min(N) as u8);
    }

    /// Whether there is no room for another item.
    pub fn is_full(&self) -> bool {
        self.len as usize == N
    }
}

impl<T: Copy + Default, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for Bounded<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.len as usize]
    }
}

impl<T, const N: usize> DerefMut for Bounded<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.len as usize]
    }
}

/// Keeps the first `N` items and ignores the rest.
impl<T: Copy + Default, const N: usize> FromIterator<T> for Bounded<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::new();
        for item in items {
            if !list.push(item) {
                break;
            }
        }
        list
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Bounded<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq, const N: usize> PartialEq for Bounded<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for Bounded<T, N> {}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Bounded<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

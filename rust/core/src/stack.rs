//! Stacks by their content. In: definitions from streams. Out: the frames behind a hash.
//!
//! The table has no limit: the kernel's cache may forget what it sent, the script's side never does. A definition that
//! was lost on the way is *pending* and heals when the kernel sends it again.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use hashbrown::HashMap;

use crate::spec::StackSpace;
use crate::symbol::recorded::Recorded;
use crate::symbol::{Symbol, named_frames, symbolize_stack};

/// The frames of one stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frames {
    /// The process whose address space they belong to; 0 for a kernel stack.
    pub pid: u32,
    /// Return addresses, innermost first.
    pub addresses: Box<[u64]>,
}

/// What a hash begins with, before the process id is mixed in: 2^64 divided by the golden ratio.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
/// Mixes a frame in: the first multiplier of MurmurHash3's 64-bit finalizer.
const FACTOR: u64 = 0xFF51_AFD7_ED55_8CCD;

/// The content hash that generated programs compute too. Never 0, which stands for "no stack".
#[inline]
pub fn hash_frames(pid: u32, frames: impl Iterator<Item = u64>) -> u64 {
    let hash = frames.fold(SEED ^ u64::from(pid), |hash, frame| {
        let mixed = (hash ^ frame).wrapping_mul(FACTOR);
        mixed ^ mixed >> 32
    });
    if hash == 0 { 1 } else { hash }
}

/// Content hashes are mixed well already.
#[derive(Debug, Default, Clone, Copy)]
pub struct ContentHasher(u64);

impl Hasher for ContentHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FACTOR);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Map = HashMap<u64, Arc<Frames>, BuildHasherDefault<ContentHasher>>;

/// Every stack that a session has seen.
#[derive(Debug, Default)]
pub struct StackTable {
    map: RwLock<Map>,
    collisions: AtomicU64,
    /// Names that came with the stacks, of another time or machine.
    names: OnceLock<Arc<Recorded>>,
}

impl StackTable {
    /// Takes a definition in. One that is known is compared; other frames under its hash are a collision, which is
    /// counted, and the first ones stay.
    pub fn define(&self, hash: u64, pid: u32, frames: impl ExactSizeIterator<Item = u64> + Clone) {
        if self.is_same(hash, pid, frames.clone()).is_none_or(|is_same| !is_same) {
            self.insert(hash, pid, frames);
        }
    }

    /// Takes frames in and gives their hash.
    pub fn intern(&self, pid: u32, frames: impl ExactSizeIterator<Item = u64> + Clone) -> u64 {
        let hash = hash_frames(pid, frames.clone());
        self.define(hash, pid, frames);
        hash
    }

    /// The frames behind a hash; none while the definition is pending.
    pub fn get(&self, hash: u64) -> Option<Arc<Frames>> {
        self.read().get(&hash).cloned()
    }

    /// From now on these are the frames' names, and nothing of this machine is asked. The first ones stay.
    pub fn name_by(&self, names: Arc<Recorded>) {
        let _ = self.names.set(names);
    }

    /// Whether names come from a recording.
    pub fn is_recorded(&self) -> bool {
        self.names.get().is_some()
    }

    /// Names the frames of a stack, innermost first.
    pub fn symbolize(&self, space: StackSpace, pid: u32, addresses: &[u64]) -> Vec<Symbol> {
        match self.names.get() {
            None => symbolize_stack(space, pid, addresses),
            Some(names) => named_frames(addresses, |places| {
                names.symbolize(if space == StackSpace::Kernel { 0 } else { pid }, places)
            }),
        }
    }

    /// Definitions that contradicted an earlier one.
    pub fn collisions(&self) -> u64 {
        self.collisions.load(Ordering::Relaxed)
    }

    /// Stacks known.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_same(&self, hash: u64, pid: u32, frames: impl Iterator<Item = u64>) -> Option<bool> {
        let map = self.read();
        let known = map.get(&hash)?;
        Some(known.pid == pid && frames.eq(known.addresses.iter().copied()))
    }

    fn insert(&self, hash: u64, pid: u32, frames: impl Iterator<Item = u64>) {
        let frames = Frames { pid, addresses: frames.collect() };
        let mut map = self.map.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = map.entry(hash).or_insert_with(|| Arc::new(frames.clone()));
        if **known != frames {
            self.collisions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere leaves the map whole: every change of it is one insertion.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_identity() {
        let table = StackTable::default();
        let kernel = table.intern(0, [1, 2, 3].into_iter());
        assert_eq!(table.intern(0, [1, 2, 3].into_iter()), kernel);
        assert_ne!(table.intern(7, [1, 2, 3].into_iter()), kernel);
        assert_ne!(table.intern(0, [1, 2].into_iter()), kernel);
        assert_eq!(table.get(kernel).map(|frames| frames.addresses.to_vec()), Some(vec![1, 2, 3]));
        assert_eq!((table.len(), table.collisions(), table.get(1)), (3, 0, None));
    }

    #[test]
    fn a_collision_that_shows_is_counted_and_the_first_stays() {
        let table = StackTable::default();
        table.define(9, 0, [1].into_iter());
        table.define(9, 0, [2].into_iter());
        table.define(9, 0, [1].into_iter());
        assert_eq!(table.collisions(), 1);
        assert_eq!(table.get(9).map(|frames| frames.addresses.to_vec()), Some(vec![1]));
    }

    #[test]
    fn no_stack_hashes_to_0() {
        // FACTOR is odd, so (SEED ^ frame) * FACTOR is 0 for this frame alone.
        assert_eq!(hash_frames(0, [SEED].into_iter()), 1);
    }
}

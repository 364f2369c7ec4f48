//! Counts by key, in the form that suits the keys' number of parts.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::key::Word;

pub(super) type Map<K> = HashMap<K, u64, FxBuildHasher>;

/// By the number of parts in a key: two at most are the usual ones, and quick, for such keys lie in the map itself.
#[derive(Debug)]
pub(super) enum Counts {
    Cell(u64),
    One(Map<Word>),
    Two(Map<(Word, Word)>),
    Many(Map<Box<[Word]>>),
}

impl Counts {
    pub(super) fn new(parts: usize) -> Self {
        match parts {
            0 => Self::Cell(0),
            1 => Self::One(Map::default()),
            2 => Self::Two(Map::default()),
            _ => Self::Many(Map::default()),
        }
    }

    /// An empty one for keys of as many parts.
    pub(super) fn fresh(&self) -> Self {
        match self {
            Self::Cell(_) => Self::Cell(0),
            Self::One(_) => Self::One(Map::default()),
            Self::Two(_) => Self::Two(Map::default()),
            Self::Many(_) => Self::Many(Map::default()),
        }
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Cell(count) => usize::from(*count > 0),
            Self::One(map) => map.len(),
            Self::Two(map) => map.len(),
            Self::Many(map) => map.len(),
        }
    }

    /// The count of a key; none if it has none.
    pub(super) fn get(&self, key: &[Word]) -> Option<u64> {
        match (self, key) {
            (Self::Cell(count), []) => (*count > 0).then_some(*count),
            (Self::One(map), [word]) => map.get(word).copied(),
            (Self::Two(map), [one, two]) => map.get(&(*one, *two)).copied(),
            (Self::Many(map), words) => map.get(words).copied(),
            _ => None,
        }
    }

    /// Each key and its count, in no order.
    pub(super) fn each(&self, mut take: impl FnMut(&[Word], u64)) {
        match self {
            Self::Cell(0) => {}
            Self::Cell(count) => take(&[], *count),
            Self::One(map) => map.iter().for_each(|(word, count)| take(&[*word], *count)),
            Self::Two(map) => map.iter().for_each(|((one, two), count)| take(&[*one, *two], *count)),
            Self::Many(map) => map.iter().for_each(|(words, count)| take(words, *count)),
        }
    }
}

//! Accumulators by key, in the form that suits the keys' number of parts.

use std::hash::Hash;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::accumulator::Accumulator;
use super::field::Field;
use super::key::{Strings, Tuple, Word};

pub(super) type Map<K, A> = HashMap<K, A, FxBuildHasher>;

/// By the number of parts in a key: two at most are the usual ones, and quick, for such keys lie in the map itself.
#[derive(Debug, Clone)]
pub(super) enum Keyed<A> {
    Cell(Option<A>),
    One(Map<Tuple<1>, A>),
    Two(Map<Tuple<2>, A>),
    /// Beside the map room for a key that is looked up.
    Many(Map<Box<[Word]>, A>, Vec<Word>),
}

impl<A: Accumulator> Keyed<A> {
    pub(super) fn new(parts: usize) -> Self {
        match parts {
            0 => Self::Cell(None),
            1 => Self::One(Map::default()),
            2 => Self::Two(Map::default()),
            _ => Self::Many(Map::default(), Vec::with_capacity(parts)),
        }
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Cell(cell) => usize::from(cell.is_some()),
            Self::One(map) => map.len(),
            Self::Two(map) => map.len(),
            Self::Many(map, _) => map.len(),
        }
    }

    /// What a key has.
    pub(super) fn get(&self, key: &[Word]) -> Option<&A> {
        match (self, key) {
            (Self::Cell(cell), []) => cell.as_ref(),
            (Self::One(map), [one]) => map.get(&Tuple([*one])),
            (Self::Two(map), [one, two]) => map.get(&Tuple([*one, *two])),
            (Self::Many(map, _), words) => map.get(words),
            _ => None,
        }
    }

    /// Each key and what it has, in no order.
    pub(super) fn each<'a>(&'a self, mut take: impl FnMut(&'a [Word], &'a A)) {
        match self {
            Self::Cell(cell) => cell.iter().for_each(|found| take(&[], found)),
            Self::One(map) => map.iter().for_each(|(key, found)| take(&key.0, found)),
            Self::Two(map) => map.iter().for_each(|(key, found)| take(&key.0, found)),
            Self::Many(map, _) => map.iter().for_each(|(key, found)| take(key, found)),
        }
    }

    /// Adds what records have, each so many times and under the key that these fields of it make. The hits of those that had
    /// both.
    #[inline]
    pub(super) fn add<'a, F: Field<'a>>(
        &mut self,
        form: A::Form,
        key: &[F],
        strings: &mut Strings,
        records: impl Iterator<Item = (F::Record, u64)>,
        item: impl Fn(F::Record, u64) -> Option<A::Item<'a>>,
    ) -> u64 {
        let mut added = 0_u64;
        match (self, key) {
            (Self::Cell(cell), _) => {
                for (record, hits) in records {
                    let Some(item) = item(record, hits) else { continue };
                    cell.get_or_insert_with(|| A::new(form)).add(form, item, hits);
                    added = added.saturating_add(hits);
                }
            }
            // Not by one closure for all arms: it would not be inlined.
            (Self::One(map), &[one]) => {
                for (record, hits) in records {
                    let Some(item) = item(record, hits) else { continue };
                    let Some(one) = one.word(record, strings) else { continue };
                    put(map, Tuple([one]), form, item, hits);
                    added = added.saturating_add(hits);
                }
            }
            (Self::Two(map), &[one, two]) => {
                for (record, hits) in records {
                    let Some(item) = item(record, hits) else { continue };
                    let Some(one) = one.word(record, strings) else { continue };
                    let Some(two) = two.word(record, strings) else { continue };
                    put(map, Tuple([one, two]), form, item, hits);
                    added = added.saturating_add(hits);
                }
            }
            (Self::Many(map, words), key) => {
                for (record, hits) in records {
                    let Some(item) = item(record, hits) else { continue };
                    words.clear();
                    words.extend(key.iter().map_while(|part| part.word(record, strings)));
                    if words.len() == key.len() {
                        put_words(map, words, form, item, hits);
                        added = added.saturating_add(hits);
                    }
                }
            }
            _ => {}
        }
        added
    }
}

/// Not by an entry, which would make room for a new key each time. Inlined always: it is the loop's body.
#[inline(always)]
fn put<K: Hash + Eq, A: Accumulator>(map: &mut Map<K, A>, key: K, form: A::Form, item: A::Item<'_>, hits: u64) {
    match map.get_mut(&key) {
        Some(known) => known.add(form, item, hits),
        None => drop(map.insert(key, first(form, item, hits))),
    }
}

#[inline]
fn put_words<A: Accumulator>(
    map: &mut Map<Box<[Word]>, A>,
    words: &[Word],
    form: A::Form,
    item: A::Item<'_>,
    hits: u64,
) {
    match map.get_mut(words) {
        Some(known) => known.add(form, item, hits),
        None => drop(map.insert(words.into(), first(form, item, hits))),
    }
}

#[cold]
fn first<A: Accumulator>(form: A::Form, item: A::Item<'_>, hits: u64) -> A {
    let mut new = A::new(form);
    new.add(form, item, hits);
    new
}

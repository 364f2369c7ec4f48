//! One table: counts by key.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::key::{Part, Strings, Word};
use crate::event::{Column, Event, Value};
use crate::source::rows::{RowColumn, Rows};

/// A key and its count.
pub type Row = (Vec<Part>, u64);

/// Counts by key, shared between the thread that drains and the script.
#[derive(Debug)]
pub struct Table {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counts: Counts,
    strings: Strings,
    total: u64,
    faulted: u64,
    scratch: Vec<Word>,
}

/// By the number of parts in a key: none and one are the usual ones, and quick.
#[derive(Debug)]
enum Counts {
    Cell(u64),
    One(HashMap<Word, u64, FxBuildHasher>),
    Many(HashMap<Box<[Word]>, u64, FxBuildHasher>),
}

impl Counts {
    fn new(parts: usize) -> Self {
        match parts {
            0 => Self::Cell(0),
            1 => Self::One(HashMap::default()),
            _ => Self::Many(HashMap::default()),
        }
    }

    /// An empty one for keys of as many parts.
    fn fresh(&self) -> Self {
        match self {
            Self::Cell(_) => Self::Cell(0),
            Self::One(_) => Self::One(HashMap::default()),
            Self::Many(_) => Self::Many(HashMap::default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Cell(count) => usize::from(*count > 0),
            Self::One(map) => map.len(),
            Self::Many(map) => map.len(),
        }
    }
}

/// A table that is locked for a number of updates.
#[derive(Debug)]
pub struct TableGuard<'a>(MutexGuard<'a, State>);

impl TableGuard<'_> {
    /// Counts an event under the key that its columns make. With a null among them it isn't counted, and that is.
    #[inline]
    pub fn count(&mut self, event: &Event<'_>, columns: &[Option<Column>]) {
        self.0.count(columns.iter().map(|column| column.map_or(Value::Null, |column| event.at(column))));
    }

    /// Counts rows likewise.
    pub fn count_rows(&mut self, rows: &Rows, columns: &[RowColumn]) {
        let state = &mut *self.0;
        match (&mut state.counts, columns) {
            (Counts::Cell(count), _) => {
                *count += rows.len() as u64;
                state.total += rows.len() as u64;
            }
            (Counts::One(map), [column]) => {
                let words = rows.iter().filter_map(|row| Word::of(column.value(row)));
                let before = state.total;
                for word in words {
                    add(map, &word, || word);
                    state.total += 1;
                }
                state.faulted += rows.len() as u64 - (state.total - before);
            }
            _ => rows.iter().for_each(|row| state.count(columns.iter().map(|column| column.value(row)))),
        }
    }
}

impl State {
    #[inline]
    fn count<'a>(&mut self, mut key: impl ExactSizeIterator<Item = Value<'a>>) {
        let parts = key.len();
        let is_counted = match &mut self.counts {
            Counts::Cell(count) => {
                *count += 1;
                true
            }
            Counts::One(map) => match key.next().and_then(|value| self.strings.word(value)) {
                Some(word) => {
                    add(map, &word, || word);
                    true
                }
                None => false,
            },
            Counts::Many(map) => {
                self.scratch.clear();
                self.scratch.extend(key.map_while(|value| self.strings.word(value)));
                let is_whole = self.scratch.len() == parts;
                if is_whole {
                    add(map, self.scratch.as_slice(), || self.scratch.as_slice().into());
                }
                is_whole
            }
        };
        self.total += u64::from(is_counted);
        self.faulted += u64::from(!is_counted);
    }
}

#[inline]
fn add<K, Q>(map: &mut HashMap<K, u64, FxBuildHasher>, key: &Q, owned: impl FnOnce() -> K)
where
    K: Borrow<Q> + Hash + Eq,
    Q: Hash + Eq + ?Sized,
{
    match map.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(map.insert(owned(), 1)),
    }
}

impl Table {
    /// An empty table for keys of so many parts.
    pub fn new(parts: usize) -> Self {
        let state = State {
            counts: Counts::new(parts),
            strings: Strings::default(),
            total: 0,
            faulted: 0,
            scratch: Vec::with_capacity(parts),
        };
        Self { state: Mutex::new(state) }
    }

    /// Locks it for updates.
    pub fn lock(&self) -> TableGuard<'_> {
        TableGuard(self.state())
    }

    /// Events counted since the start, those taken included.
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// Events that were not counted, because a part of their key was null.
    pub fn faulted(&self) -> u64 {
        self.state().faulted
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.state().counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The count of a key; none if it has none.
    pub fn get(&self, key: &[Part]) -> Option<u64> {
        let state = self.state();
        let words: Option<Vec<Word>> = key.iter().map(|part| state.strings.find(part)).collect();
        match (&state.counts, words?.as_slice()) {
            (Counts::Cell(count), []) => (*count > 0).then_some(*count),
            (Counts::One(map), [word]) => map.get(word).copied(),
            (Counts::Many(map), words) => map.get(words).copied(),
            _ => None,
        }
    }

    /// Everything, in no order.
    pub fn snapshot(&self) -> Vec<Row> {
        let state = self.state();
        rows(&state.counts, &state.strings)
    }

    /// Everything, and begins anew.
    pub fn take(&self) -> Vec<Row> {
        let mut state = self.state();
        let fresh = state.counts.fresh();
        let counts = std::mem::replace(&mut state.counts, fresh);
        let strings = std::mem::take(&mut state.strings);
        drop(state);
        rows(&counts, &strings)
    }

    /// The largest counts, largest first; equal ones by key.
    pub fn top(&self, most: usize) -> Vec<Row> {
        let mut rows = self.snapshot();
        let by_count = |a: &Row, b: &Row| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
        if most < rows.len() {
            rows.select_nth_unstable_by(most, by_count);
            rows.truncate(most);
        }
        rows.sort_unstable_by(by_count);
        rows
    }

    /// No update leaves the state half changed in a way that matters to a reader after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rows(counts: &Counts, strings: &Strings) -> Vec<Row> {
    match counts {
        Counts::Cell(0) => Vec::new(),
        Counts::Cell(count) => vec![(Vec::new(), *count)],
        Counts::One(map) => map.iter().map(|(word, count)| (vec![strings.part(*word)], *count)).collect(),
        Counts::Many(map) => {
            map.iter().map(|(words, count)| (words.iter().map(|word| strings.part(*word)).collect(), *count)).collect()
        }
    }
}

//! One table: counts by key.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::counts::{Counts, Map};
use super::key::{Part, Strings, Word};
use super::row::RowLayout;
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

/// A table that is locked for a number of updates.
#[derive(Debug)]
pub struct TableGuard<'a>(MutexGuard<'a, State>);

impl TableGuard<'_> {
    /// Counts an event under the key that its columns make. With a null among them it isn't counted, and that is.
    #[inline]
    pub fn count(&mut self, event: &Event<'_>, columns: &[Option<Column>]) {
        self.add(event, columns, 1);
    }

    /// Counts an event that stands for so many.
    #[inline]
    pub fn add(&mut self, event: &Event<'_>, columns: &[Option<Column>], hits: u64) {
        self.0.count(columns, |column| column.map_or(Value::Null, |column| event.at(column)), hits);
    }

    /// Counts rows likewise.
    pub fn count_rows(&mut self, rows: &Rows, columns: &[RowColumn]) {
        let State { counts, total, faulted, .. } = &mut *self.0;
        let word = |row: &[u64], column: RowColumn| Word::of(column.value(row));
        let counted = match (counts, columns) {
            (Counts::Cell(count), _) => {
                *count += rows.len() as u64;
                rows.len() as u64
            }
            (Counts::One(map), &[one]) => add_all(map, rows.iter().filter_map(|row| word(row, one))),
            (Counts::Two(map), &[one, two]) => {
                add_all(map, rows.iter().filter_map(|row| Some((word(row, one)?, word(row, two)?))))
            }
            (Counts::Many(_), _) => {
                return rows.iter().for_each(|row| self.0.count(columns, |column| column.value(row), 1));
            }
            _ => 0,
        };
        *total += counted;
        *faulted += rows.len() as u64 - counted;
    }

    /// Adds rows that were kept elsewhere, each of `layout.width` words.
    pub fn merge(&mut self, layout: &RowLayout, rows: &[u64]) {
        let parts: Vec<usize> = (0..layout.key.len()).collect();
        for row in rows.chunks_exact(layout.width) {
            let texts: Vec<[u8; 256]> = layout.key.iter().map(|words| words.bytes(row)).collect();
            self.0.count(&parts, |part| layout.key[part].value(row, &texts[part]), row[layout.kept_at]);
        }
    }

    /// Counts events whose key could not be read where the table was kept.
    pub fn fault(&mut self, events: u64) {
        self.0.faulted = self.0.faulted.saturating_add(events);
    }
}

fn add_all<K: Hash + Eq>(map: &mut Map<K>, keys: impl Iterator<Item = K>) -> u64 {
    keys.fold(0, |counted, key| {
        add(map, key, 1);
        counted + 1
    })
}

/// Not by an entry, which would make room for a new key each time.
#[inline]
fn add<K: Hash + Eq>(map: &mut Map<K>, key: K, hits: u64) {
    match map.get_mut(&key) {
        Some(count) => *count = count.saturating_add(hits),
        None => drop(map.insert(key, hits)),
    }
}

impl State {
    #[inline]
    fn count<'a, C: Copy>(&mut self, columns: &[C], value: impl Fn(C) -> Value<'a>, hits: u64) {
        let is_counted = match (&mut self.counts, columns) {
            (Counts::Cell(count), _) => {
                *count = count.saturating_add(hits);
                true
            }
            // Not by one closure for all arms: it would not be inlined.
            (Counts::One(map), &[column]) => {
                self.strings.word(value(column)).map(|word| add(map, word, hits)).is_some()
            }
            (Counts::Two(map), &[one, two]) => match [one, two].map(|column| self.strings.word(value(column))) {
                [Some(one), Some(two)] => {
                    add(map, (one, two), hits);
                    true
                }
                _ => false,
            },
            (Counts::Many(map), _) => {
                self.scratch.clear();
                self.scratch.extend(columns.iter().map_while(|column| self.strings.word(value(*column))));
                let is_whole = self.scratch.len() == columns.len();
                if is_whole {
                    match map.get_mut(self.scratch.as_slice()) {
                        Some(count) => *count = count.saturating_add(hits),
                        None => drop(map.insert(self.scratch.as_slice().into(), hits)),
                    }
                }
                is_whole
            }
            _ => false,
        };
        let sum = if is_counted { &mut self.total } else { &mut self.faulted };
        *sum = sum.saturating_add(hits);
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
        state.counts.get(words?.as_slice())
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
    let mut rows = Vec::with_capacity(counts.len());
    counts.each(|words, count| rows.push((words.iter().map(|word| strings.part(*word)).collect(), count)));
    rows
}

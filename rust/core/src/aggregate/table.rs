//! One table, shared between the thread that drains and the script.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::accumulated::Accumulated;
use super::key::Part;
use super::row::RowLayout;
use super::store::{Store, store};
use super::tallied::Tallied;
use crate::event::{Column, Event};
use crate::source::rows::Rows;
use crate::spec::{AggregateFunction, AggregateSpec};
use crate::words::Words;

/// A key and what was accumulated under it.
pub type Row = (Vec<Part>, Accumulated);

/// What is accumulated, by key.
#[derive(Debug)]
pub struct Table {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Box<dyn Store>,
    total: u64,
    faulted: u64,
}

impl State {
    /// Notes what became of so many hits.
    #[inline]
    fn account(&mut self, hits: u64, added: u64) {
        self.total = self.total.saturating_add(added);
        self.faulted = self.faulted.saturating_add(hits - added.min(hits));
    }
}

/// A table that is locked for a number of updates.
#[derive(Debug)]
pub struct TableGuard<'a>(MutexGuard<'a, State>);

impl TableGuard<'_> {
    /// Takes an event in. Its columns are those of the key and behind them the value's. With a null among them it adds
    /// nothing, and that is counted.
    #[inline]
    pub fn add(&mut self, event: &Event<'_>, columns: &[Option<Column>]) {
        self.add_hits(event, columns, 1);
    }

    /// Takes in an event that stands for so many.
    #[inline]
    pub fn add_hits(&mut self, event: &Event<'_>, columns: &[Option<Column>], hits: u64) {
        let added = self.0.store.event(event, columns, hits);
        self.0.account(hits, added);
    }

    /// Takes in a row of a script's table; `key` are the columns of its key.
    pub fn add_tallied(&mut self, row: &Event<'_>, key: &[Option<Column>], tallied: &Tallied) {
        let (layout, words) = (tallied.layout(), tallied.words(row));
        let added = self.0.store.tallied(row, key, layout, &words[..layout.width]);
        self.0.account(words[layout.kept_at], added);
    }

    /// Takes rows in likewise.
    pub fn add_rows(&mut self, rows: &Rows, columns: &[Words]) {
        let added = self.0.store.rows(rows, columns);
        self.0.account(rows.len(), added);
    }

    /// Adds rows that were kept elsewhere, each of `layout.width` words. One without a key (a stack that is none) counts as
    /// faulted.
    pub fn merge(&mut self, layout: &RowLayout, rows: &[u64]) {
        let hits = rows.chunks_exact(layout.width).filter_map(|row| row.get(layout.kept_at));
        let hits = hits.fold(0, |sum: u64, hits| sum.saturating_add(*hits));
        let added = self.0.store.merge(layout, rows);
        self.0.account(hits, added);
    }

    /// Counts events whose key or value could not be read where the table was kept.
    pub fn fault(&mut self, events: u64) {
        self.0.faulted = self.0.faulted.saturating_add(events);
    }
}

impl Table {
    /// An empty table of a function, for keys of so many parts.
    pub fn new(function: AggregateFunction, parts: usize) -> Self {
        Self { state: Mutex::new(State { store: store(function, parts), total: 0, faulted: 0 }) }
    }

    /// An empty table, as a spec wants it.
    pub fn of(spec: &AggregateSpec) -> Self {
        Self::new(spec.function, spec.by.len())
    }

    /// Locks it for updates.
    pub fn lock(&self) -> TableGuard<'_> {
        TableGuard(self.state())
    }

    /// Events that are in it, since the start, those taken included.
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// Events that are not, because a part of their key or their value was null.
    pub fn faulted(&self) -> u64 {
        self.state().faulted
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.state().store.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was accumulated under a key; none if nothing was.
    pub fn get(&self, key: &[Part]) -> Option<Accumulated> {
        self.state().store.get(key)
    }

    /// Everything, in no order.
    pub fn snapshot(&self) -> Vec<Row> {
        self.copy().each()
    }

    /// Everything, and begins anew.
    pub fn take(&self) -> Vec<Row> {
        let mut state = self.state();
        let fresh = state.store.fresh();
        let taken = std::mem::replace(&mut state.store, fresh);
        drop(state);
        taken.each()
    }

    /// The keys of which there is most, those first; equal ones by key. Most is the greatest number, sum, mean or value; of
    /// statistics the sum counts, of histograms and lists the number of events, of registers their estimate.
    pub fn top(&self, most: usize) -> Vec<Row> {
        self.copy().top(most)
    }

    /// A copy: copying is a fraction of what making rows takes, and the thread that drains waits no longer than that.
    fn copy(&self) -> Box<dyn Store> {
        self.state().store.copy()
    }

    /// No update leaves the state half changed in a way that matters to a reader after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

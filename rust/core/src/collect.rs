//! The thread that empties the kernel's tables. In: a [`Store`], which knows where they are. Out: full [`Table`]s.
//!
//! The kernel's tables are small, and there are two of each: while one is emptied, programs write to the other. They are
//! emptied when one of them fills up, and when somebody wants to know everything that has happened. No hit is looked at
//! here, and what found no room in the kernel comes by the other road, that of an event.

use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::Table;
use crate::aggregate::row::RowLayout;
use crate::error::Error;
use crate::worker::{Shared, Worker};

/// How often the tables' fill is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Rows of one aggregate, kept in the kernel until now.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The probe and the aggregate.
    pub of: (usize, usize),
    /// What is in a row.
    pub layout: &'a RowLayout,
    /// Whole rows.
    pub words: &'a [u64],
    /// Hits whose key or value could not be read.
    pub faulted: u64,
}

/// The kernel's tables.
pub trait Store: Send {
    /// Whether one is so full that they should be emptied.
    fn is_pressed(&self) -> bool;

    /// Lets programs write elsewhere, waits until none writes here any more, and hands over what there is. What had
    /// happened when it was called is handed over by then.
    fn collect(&mut self, each: &mut dyn FnMut(Rows<'_>)) -> Result<(), Error>;

    /// Hands over everything, wherever it is: no program writes any more.
    fn collect_last(&mut self, each: &mut dyn FnMut(Rows<'_>)) -> Result<(), Error>;
}

/// A collecting thread.
#[derive(Debug)]
pub struct Collector {
    worker: Worker<State>,
}

#[derive(Debug, Default)]
struct State {
    is_ending: bool,
    has_ended: bool,
    /// How many collections have been begun, have ended, and must have ended for those who wait.
    begun: u64,
    ended: u64,
    wanted: u64,
    error: Option<Error>,
}

impl Collector {
    /// Starts the thread. The error is the system's, when it has no thread left.
    pub fn spawn(store: Box<dyn Store>, tables: Vec<Vec<Arc<Table>>>) -> Result<Self, Error> {
        let work = move |shared: &Shared<State>| run(store, &tables, shared);
        Ok(Self { worker: Worker::spawn("spile-collect", "collects", work)? })
    }

    /// Waits until everything that had happened when it was called is in the tables.
    pub fn wait(&self) {
        let shared = self.worker.shared();
        let mut state = shared.lock();
        // One that has begun already may miss what happened since.
        let wanted = state.begun + 1;
        state.wanted = state.wanted.max(wanted);
        shared.notify();
        while state.ended < wanted && !state.has_ended {
            state = shared.wait(state);
        }
    }

    /// Collects what is left, when no program writes any more, and ends the thread. A second call does nothing.
    pub fn finish(&self) {
        let panicked = self.worker.finish(|state| state.is_ending = true);
        if panicked.is_some() {
            let mut state = self.worker.shared().lock();
            state.has_ended = true;
            state.error = panicked;
        }
    }

    /// What went wrong on the way, once.
    pub fn take_error(&self) -> Option<Error> {
        self.worker.shared().lock().error.take()
    }

    /// How often tables have been emptied so far.
    pub fn collections(&self) -> u64 {
        self.worker.shared().lock().ended
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Waits until there is something to do. False when it is time to end.
fn is_wanted(shared: &Shared<State>, is_pressed: impl Fn() -> bool) -> bool {
    let mut state = shared.lock();
    while !state.is_ending && state.wanted <= state.ended {
        state = shared.wait_for(state, PAUSE);
        if is_pressed() {
            break;
        }
    }
    state.begun += u64::from(!state.is_ending);
    !state.is_ending
}

fn run(mut store: Box<dyn Store>, tables: &[Vec<Arc<Table>>], shared: &Shared<State>) {
    let mut each = |rows: Rows<'_>| merge(tables, rows);
    let mut outcome = Ok(());
    while outcome.is_ok() && is_wanted(shared, || store.is_pressed()) {
        outcome = store.collect(&mut each);
        let mut state = shared.lock();
        state.ended = state.begun;
        shared.notify();
    }
    if outcome.is_ok() {
        outcome = store.collect_last(&mut each);
    }
    let mut state = shared.lock();
    state.error = outcome.err();
    state.has_ended = true;
    shared.notify();
}

fn merge(tables: &[Vec<Arc<Table>>], rows: Rows<'_>) {
    let Some(table) = tables.get(rows.of.0).and_then(|tables| tables.get(rows.of.1)) else { return };
    let mut table = table.lock();
    table.merge(rows.layout, rows.words);
    if rows.faulted > 0 {
        table.fault(rows.faulted);
    }
}

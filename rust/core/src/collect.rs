//! The thread that empties the kernel's tables. In: a [`Store`], which knows where they are. Out: full [`Table`]s.
//!
//! The kernel's tables are small, and there are two of each: while one is emptied, programs write to the other. They are
//! emptied when one of them fills up, and when somebody wants to know everything that has happened. No hit is looked at
//! here, and what found no room in the kernel comes by the other road, that of an event.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::aggregate::Table;
use crate::aggregate::row::RowLayout;
use crate::error::Error;

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
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
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
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("spile-collect".into())
            .spawn(move || run(store, &tables, &of_thread))
            .map_err(|error| Error::engine(format!("starting the thread that collects: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until everything that had happened when it was called is in the tables.
    pub fn wait(&self) {
        let mut state = self.shared.lock();
        // One that has begun already may miss what happened since.
        let wanted = state.begun + 1;
        state.wanted = state.wanted.max(wanted);
        self.shared.changed.notify_all();
        while state.ended < wanted && !state.has_ended {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Collects what is left, when no program writes any more, and ends the thread. A second call does nothing.
    pub fn finish(&self) {
        self.shared.lock().is_ending = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            let mut state = self.shared.lock();
            state.has_ended = true;
            state.error = Some(Error::engine("the thread that collects panicked; this is a bug of spile's"));
        }
    }

    /// What went wrong on the way, once.
    pub fn take_error(&self) -> Option<Error> {
        self.shared.lock().error.take()
    }

    /// How often tables have been emptied so far.
    pub fn collections(&self) -> u64 {
        self.shared.lock().ended
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// Every change is a single assignment, so a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to do. False when it is time to end.
    fn wait(&self, is_pressed: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        while !state.is_ending && state.wanted <= state.ended {
            state = self.changed.wait_timeout(state, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
            if is_pressed() {
                break;
            }
        }
        state.begun += u64::from(!state.is_ending);
        !state.is_ending
    }
}

fn run(mut store: Box<dyn Store>, tables: &[Vec<Arc<Table>>], shared: &Shared) {
    let mut each = |rows: Rows<'_>| merge(tables, rows);
    let mut outcome = Ok(());
    while outcome.is_ok() && shared.wait(|| store.is_pressed()) {
        outcome = store.collect(&mut each);
        let mut state = shared.lock();
        state.ended = state.begun;
        shared.changed.notify_all();
    }
    if outcome.is_ok() {
        outcome = store.collect_last(&mut each);
    }
    let mut state = shared.lock();
    state.error = outcome.err();
    state.has_ended = true;
    shared.changed.notify_all();
}

fn merge(tables: &[Vec<Arc<Table>>], rows: Rows<'_>) {
    let Some(table) = tables.get(rows.of.0).and_then(|tables| tables.get(rows.of.1)) else { return };
    let mut table = table.lock();
    table.merge(rows.layout, rows.words);
    if rows.faulted > 0 {
        table.fault(rows.faulted);
    }
}

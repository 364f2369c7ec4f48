//! A thread of spile's own, and the state that it shares with whoever tells it what to do and waits for it.
//!
//! In: a name, what the thread does, and the work. Out: its state under a lock, and word of whether it panicked.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Error;

/// A thread, from its start until it is joined.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    shared: Arc<Shared<S>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// As in "the thread that drains".
    does: &'static str,
}

/// A state whose changes are waited for.
#[derive(Debug, Default)]
pub(crate) struct Shared<S> {
    state: Mutex<S>,
    changed: Condvar,
}

impl<S: Default + Send + 'static> Worker<S> {
    /// Starts the thread. The error is the system's, when it has no thread left.
    pub(crate) fn spawn(
        name: &str,
        does: &'static str,
        work: impl FnOnce(&Shared<S>) + Send + 'static,
    ) -> Result<Self, Error> {
        let shared = Arc::<Shared<S>>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&of_thread))
            .map_err(|error| Error::engine(format!("starting the thread that {does}: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), does })
    }

    /// The state.
    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Changes the state, so that the thread ends, and waits until it has. The error is that it panicked. A second call only
    /// changes the state.
    pub(crate) fn finish(&self, end: impl FnOnce(&mut S)) -> Option<Error> {
        end(&mut self.shared.lock());
        self.shared.notify();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = thread?.join();
        outcome
            .err()
            .map(|_| Error::engine(format!("the thread that {} panicked; this is a bug of spile's", self.does)))
    }
}

impl<S> Shared<S> {
    /// The state. No change leaves it in a way that matters to others after a panic: each is a single assignment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all who wait look again.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, S>) -> MutexGuard<'a, S> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while that holds, or until the time is up.
    pub(crate) fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, S>,
        at_most: Duration,
        holds: impl FnMut(&mut S) -> bool,
    ) -> MutexGuard<'a, S> {
        self.changed.wait_timeout_while(state, at_most, holds).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for a change, or until the time is up.
    pub(crate) fn wait_for<'a>(&self, state: MutexGuard<'a, S>, at_most: Duration) -> MutexGuard<'a, S> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_once() {
        let worker = Worker::<()>::spawn("test", "tests", |_| panic!("on purpose")).unwrap();
        let error = worker.finish(|()| {}).unwrap();
        assert_eq!(error, Error::engine("the thread that tests panicked; this is a bug of spile's"));
        assert_eq!(worker.finish(|()| {}), None);
    }

    #[test]
    fn it_ends_when_it_is_told() {
        let work = |shared: &Shared<(bool, u32)>| {
            let mut state = shared.lock();
            while !state.0 {
                state = shared.wait(state);
            }
            state.1 = 7;
        };
        let worker = Worker::spawn("test", "tests", work).unwrap();
        assert_eq!(worker.finish(|state| state.0 = true), None);
        assert_eq!(*worker.shared().lock(), (true, 7));
    }
}

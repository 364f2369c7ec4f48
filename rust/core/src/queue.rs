//! Batches that wait for the script. In: batches, from the thread that drains. Out: batches, to the thread that asks.
//!
//! Bounded by bytes: what a slow consumer leaves no room for is dropped and counted by event. Pushing never waits: where
//! a full queue shall block (`on_full`), the thread that drains waits for room before it reads on, and what it had read
//! by then is taken in all the same.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::spec::OnFull;

/// The queue between the drain and the script.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    room: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    is_closed: bool,
    wakes: u64,
    /// A full queue blocks.
    blocks: bool,
    dropped: Vec<u64>,
    sampled_out: Vec<u64>,
    signal: Option<Signal>,
}

/// A pipe that holds a byte while there is something to pop, for event loops that wait for descriptors.
#[derive(Debug)]
struct Signal {
    reader: PipeReader,
    writer: PipeWriter,
    is_set: bool,
}

impl State {
    /// Puts the byte in or takes it out. At most one is there, so neither can block.
    fn signal(&mut self) -> io::Result<()> {
        let is_wanted = self.is_closed || !self.batches.is_empty();
        if let Some(signal) = &mut self.signal
            && signal.is_set != is_wanted
        {
            if is_wanted {
                signal.writer.write_all(&[1])?;
            } else {
                signal.reader.read_exact(&mut [0])?;
            }
            signal.is_set = is_wanted;
        }
        Ok(())
    }
}

/// What asking for a batch gave.
#[derive(Debug)]
pub enum Popped {
    /// The oldest.
    Batch(Batch),
    /// The time is over, or someone called [`Queue::wake`].
    Nothing,
    /// Nothing will ever come any more.
    Ended,
}

impl Queue {
    /// A queue for so many bytes of batches.
    pub fn new(limit: usize, on_full: OnFull) -> Self {
        let state = State { blocks: on_full == OnFull::Block, ..State::default() };
        Self { state: Mutex::new(state), ready: Condvar::new(), room: Condvar::new(), limit }
    }

    /// Appends a batch; one for which there is no room is dropped, and its events are counted, unless a full queue blocks.
    /// A batch always fits into an empty queue.
    pub fn push(&self, batch: Batch) {
        let mut state = self.lock();
        let has_room = state.blocks || state.batches.is_empty() || state.bytes + batch.nbytes() <= self.limit;
        if state.is_closed || !has_room {
            for event in batch.events() {
                let id = usize::from(event.id());
                if state.dropped.len() <= id {
                    state.dropped.resize(id + 1, 0);
                }
                state.dropped[id] += 1;
            }
            return;
        }
        state.bytes += batch.nbytes();
        state.batches.push_back(batch);
        // A pipe of one's own, with both ends open, takes a byte; if it doesn't, waiting by descriptor is lost, not events.
        let _ = state.signal();
        drop(state);
        self.ready.notify_one();
    }

    /// Whether it blocks, and holds as much as it may.
    pub fn is_blocked(&self) -> bool {
        let state = self.lock();
        state.blocks && self.is_full(&state)
    }

    /// Waits for room, at most so long.
    pub fn wait_for_room(&self, at_most: Duration) {
        let state = self.lock();
        if state.blocks && self.is_full(&state) {
            drop(self.room.wait_timeout(state, at_most));
        }
    }

    fn is_full(&self, state: &State) -> bool {
        state.bytes >= self.limit && !state.batches.is_empty()
    }

    /// From now on a full queue blocks nobody any more, and what finds no room is dropped: nobody may be reading.
    pub fn unblock(&self) {
        self.lock().blocks = false;
        self.room.notify_all();
    }

    /// Bytes that it holds, and the most that it may.
    pub fn fill(&self) -> (usize, usize) {
        (self.lock().bytes, self.limit)
    }

    /// Enters how many events, by id, were left out of a sample.
    pub fn leave_out(&self, counts: &[u64]) {
        let mut state = self.lock();
        if state.sampled_out.len() < counts.len() {
            state.sampled_out.resize(counts.len(), 0);
        }
        state.sampled_out.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    /// Events that were left out of a sample, by event id; shorter than the ids there are where the last ones have none.
    pub fn sampled_out(&self) -> Vec<u64> {
        self.lock().sampled_out.clone()
    }

    /// How often [`Self::wake`] was called so far.
    pub fn wakes(&self) -> u64 {
        self.lock().wakes
    }

    /// Takes the oldest batch, and waits for one as long as `timeout`, or for ever, unless someone woke the queue since
    /// there were `wakes`.
    pub fn pop(&self, timeout: Option<Duration>, wakes: u64) -> Popped {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.bytes -= batch.nbytes();
                let _ = state.signal();
                drop(state);
                self.room.notify_all();
                return Popped::Batch(batch);
            }
            if state.is_closed {
                return Popped::Ended;
            }
            if state.wakes != wakes {
                return Popped::Nothing;
            }
            state = match deadline {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Popped::Nothing;
                    }
                    self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Lets everyone who waits return.
    pub fn wake(&self) {
        self.lock().wakes += 1;
        self.ready.notify_all();
    }

    /// A descriptor that is readable while a batch waits or nothing will come any more. It lives as long as the queue; it
    /// is to be waited for, not read. The error is the system's, when it has no descriptor left.
    pub fn descriptor(&self) -> io::Result<RawFd> {
        let mut state = self.lock();
        if state.signal.is_none() {
            let (reader, writer) = io::pipe()?;
            state.signal = Some(Signal { reader, writer, is_set: false });
            state.signal()?;
        }
        state.signal.as_ref().map(|signal| signal.reader.as_raw_fd()).ok_or_else(|| io::Error::other("no pipe"))
    }

    /// Says that nothing will come any more. What is queued stays.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let _ = state.signal();
        drop(state);
        self.ready.notify_all();
    }

    /// Whether nothing is queued and nothing will come.
    pub fn is_ended(&self) -> bool {
        let state = self.lock();
        state.is_closed && state.batches.is_empty()
    }

    /// Events dropped, by event id; shorter than the ids there are where the last ones have none.
    pub fn dropped(&self) -> Vec<u64> {
        self.lock().dropped.clone()
    }

    /// No operation leaves the state half changed, so a panic elsewhere does no harm to it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

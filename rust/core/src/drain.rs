//! The thread that drains, always, whether or not the script is busy. In: a [`Pump`]. Out: full tables and queues.
//!
//! Probes wake nobody (that is what makes tracing slow), so the thread polls: at once again while much comes, each few
//! milliseconds otherwise. Where a full queue shall block, it reads nothing until there is room, and says so to whoever
//! waits for it: that may be the one who would make room.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::pump::{Outlets, Pump};
use crate::queue::Queue;
use crate::worker::{Shared, Worker};

/// The usual pause between two turns.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause after many turns that found nothing.
const IDLE_PAUSE: Duration = Duration::from_millis(10);
/// The pause after a turn that found so much.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
const BUSY_BYTES: usize = 1 << 20;
/// So much that there is more by the time that it has been read.
const FLOOD_BYTES: usize = 8 << 20;
/// The largest pipe holds what a few turns read, and the turn that goes on when somebody begins to wait doesn't count.
const EMPTYING_TURNS: u64 = 8;
/// So many turns that find nothing new, a second of them, give up what is still being written.
const LAST_TURNS: u32 = 1000;

/// A draining thread.
#[derive(Debug)]
pub struct Drain {
    worker: Worker<State>,
    outlets: Arc<Outlets>,
}

#[derive(Debug, Default)]
struct State {
    is_ending: bool,
    has_ended: bool,
    /// Somebody waits for the watermark.
    is_awaited: bool,
    watermark: u64,
    turns: u64,
    /// It waits for room in the queue.
    is_blocked: bool,
    error: Option<Error>,
    late: Vec<u64>,
}

impl Drain {
    /// Starts the thread. The error is the system's, when it has no thread left.
    pub fn spawn(pump: Pump) -> Result<Self, Error> {
        let outlets = Arc::clone(pump.outlets());
        let work = |shared: &Shared<State>| run(pump, shared);
        Ok(Self { worker: Worker::spawn("spile-drain", "drains", work)?, outlets })
    }

    /// Waits until every event from before `time` (`CLOCK_MONOTONIC`, nanoseconds) is in the tables and the queue, or the
    /// queue is full and blocks.
    pub fn wait_for(&self, time: u64) {
        self.wait_while(|state| state.watermark < time);
    }

    /// Waits until what was in the sources when it was called has been read, and, of events in the order of time, what is
    /// certain to be complete has been delivered.
    pub fn wait_for_turns(&self) {
        let last = self.worker.shared().lock().turns + EMPTYING_TURNS;
        self.wait_while(|state| state.turns < last);
    }

    /// Waits while that holds, and it may change.
    fn wait_while(&self, holds: impl Fn(&State) -> bool) {
        let shared = self.worker.shared();
        let mut state = shared.lock();
        while holds(&state) && !state.has_ended && !state.is_blocked {
            state.is_awaited = true;
            shared.notify();
            state = shared.wait(state);
        }
    }

    /// Reads what is left, delivers it, closes the queue and ends the thread. A second call does nothing.
    pub fn finish(&self) {
        let panicked = self.worker.finish(|state| state.is_ending = true);
        if panicked.is_some() {
            let mut state = self.worker.shared().lock();
            state.has_ended = true;
            state.error = panicked;
            self.outlets.queue.close();
        }
    }

    /// What went wrong on the way, once.
    pub fn take_error(&self) -> Option<Error> {
        self.worker.shared().lock().error.take()
    }

    /// Events delivered after later ones, by event id.
    pub fn late(&self) -> Vec<u64> {
        self.worker.shared().lock().late.clone()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared<State> {
    /// Waits while the queue is full and blocks. False when it is time to end; then the queue blocks no more.
    fn room(&self, queue: &Queue) -> bool {
        while queue.is_blocked() {
            let mut state = self.lock();
            state.is_blocked = true;
            self.notify();
            if state.is_ending {
                return false;
            }
            drop(state);
            queue.wait_for_room(PAUSE);
        }
        self.lock().is_blocked = false;
        true
    }

    /// Tells what a turn achieved, then pauses. False when it is time to end.
    fn report(&self, pump: &Pump, pause: Duration) -> bool {
        let mut state = self.lock();
        state.watermark = pump.watermark();
        state.turns += 1;
        pump.late().clone_into(&mut state.late);
        if std::mem::take(&mut state.is_awaited) {
            self.notify();
        }
        if !pause.is_zero() && !state.is_ending && !state.is_awaited {
            state = self.wait_for(state, pause);
        }
        !state.is_ending
    }
}

fn run(mut pump: Pump, shared: &Shared<State>) {
    let outcome = live(&mut pump, shared).and_then(|()| {
        if shared.lock().is_ending {
            pump.unblock();
        }
        last(&mut pump)
    });
    // After an error, what was read before it is still delivered.
    if outcome.is_err() {
        let _ = pump.turn(true);
    }
    let mut state = shared.lock();
    pump.late().clone_into(&mut state.late);
    state.error = outcome.err();
    drop(state);
    // Only now: whoever finds the queue closed asks at once what went wrong.
    pump.outlets().queue.close();
    shared.lock().has_ended = true;
    shared.notify();
}

fn live(pump: &mut Pump, shared: &Shared<State>) -> Result<(), Error> {
    let mut idle_turns = 0_u32;
    loop {
        if !shared.room(&pump.outlets().queue) {
            return Ok(());
        }
        let turn = pump.turn(false)?;
        idle_turns = if turn.bytes == 0 { idle_turns.saturating_add(1) } else { 0 };
        let pause = match turn.bytes {
            FLOOD_BYTES.. => Duration::ZERO,
            1.. if !turn.drained => Duration::ZERO,
            BUSY_BYTES.. => BUSY_PAUSE,
            0 if idle_turns > 20 => IDLE_PAUSE,
            _ => PAUSE,
        };
        let pause = if !pause.is_zero() && pump.wait(pause) { Duration::ZERO } else { pause };
        if turn.ended || !shared.report(pump, pause) {
            return Ok(());
        }
    }
}

/// The probes are shut: reads until nothing is left, then lets go of everything.
fn last(pump: &mut Pump) -> Result<(), Error> {
    let mut idle_turns = 0;
    while idle_turns < LAST_TURNS {
        let turn = pump.turn(false)?;
        if turn.ended || (turn.drained && turn.bytes == 0) {
            break;
        }
        if turn.bytes == 0 {
            idle_turns += 1;
            std::thread::sleep(BUSY_PAUSE);
        }
    }
    pump.turn(true).map(drop)
}

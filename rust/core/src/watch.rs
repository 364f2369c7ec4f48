//! The thread that watches what tracing costs. In: a [`Budget`], and a [`Meter`] that knows the kernel. Out: levels, told to
//! the programs, and the steps between them, for whoever tells the user.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::budget::{Budget, Level, Outcome};
use crate::error::Error;

/// An interval.
const INTERVAL: Duration = Duration::from_millis(200);
/// Asking costs too, the more programs there are: an interval is at least so many times as long as that takes.
const ASKING: u32 = 100;

/// What knows the kernel.
pub trait Meter: Send {
    /// Nanoseconds of the clock that events' times are of.
    fn now(&self) -> u64;

    /// Nanoseconds of CPU time that tracing has taken so far, in programs and in this process.
    fn used(&self) -> Result<u64, Error>;

    /// CPUs that run.
    fn cpus(&self) -> u32;

    /// Lets programs know what to leave out from now on.
    fn set(&mut self, level: Level) -> Result<(), Error>;
}

/// A budget, and what knows how it is kept.
pub type Watched = (Budget, Box<dyn Meter>);

/// A change of level, or the end of the ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// When.
    pub time: u64,
    /// What it was.
    pub outcome: Outcome,
    /// What has been left out since.
    pub level: Level,
    /// The share of the interval before.
    pub share: f64,
}

/// A watching thread.
#[derive(Debug)]
pub struct Watch {
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
    /// A session that sheds all day makes some hundreds of them.
    steps: Vec<Step>,
    error: Option<Error>,
}

impl Watch {
    /// Starts the thread. The error is the system's, when it has no thread left.
    pub fn spawn((budget, meter): Watched) -> Result<Self, Error> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let run = move || {
            let outcome = run(budget, meter, &of_thread);
            of_thread.lock().error = outcome.err();
        };
        let thread = std::thread::Builder::new()
            .name("spile-watch".into())
            .spawn(run)
            .map_err(|error| Error::engine(format!("starting the thread that watches the budget: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Every step so far.
    pub fn steps(&self) -> Vec<Step> {
        self.shared.lock().steps.clone()
    }

    /// Ends the thread. The level stays as it is. A second call does nothing.
    pub fn finish(&self) {
        self.shared.lock().is_ending = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            let error = Error::engine("the thread that watches the budget panicked; this is a bug of spile's");
            self.shared.lock().error = Some(error);
        }
    }

    /// What went wrong on the way, once.
    pub fn take_error(&self) -> Option<Error> {
        self.shared.lock().error.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// Every change is a single assignment, so a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an interval pass. False when it is time to end.
    fn pause(&self, interval: Duration) -> bool {
        let state = self.lock();
        let wait = self.changed.wait_timeout_while(state, interval, |state| !state.is_ending);
        !wait.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }
}

fn run(mut budget: Budget, mut meter: Box<dyn Meter>, shared: &Shared) -> Result<(), Error> {
    let cpus = f64::from(meter.cpus().max(1));
    let (mut time, mut used, mut interval) = (meter.now(), meter.used()?, INTERVAL);
    while shared.pause(interval) {
        let asked = Instant::now();
        let (time_now, used_now) = (meter.now(), meter.used()?);
        interval = INTERVAL.max(ASKING * asked.elapsed());
        let share = used_now.saturating_sub(used) as f64 / (time_now.saturating_sub(time).max(1) as f64 * cpus);
        (time, used) = (time_now, used_now);
        let Some(outcome) = budget.look(share) else { continue };
        let level = budget.level();
        if outcome != Outcome::Spent {
            meter.set(level)?;
        }
        shared.lock().steps.push(Step { time, outcome, level, share });
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::budget::Spares;

    /// Two CPUs, of which tracing takes a tenth until somebody sheds, then nothing.
    struct Pretended {
        started: Instant,
        levels: Arc<Mutex<Vec<Level>>>,
        asked: Arc<AtomicU64>,
    }

    impl Meter for Pretended {
        fn now(&self) -> u64 {
            self.started.elapsed().as_nanos() as u64
        }

        fn used(&self) -> Result<u64, Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let is_shed = !self.levels.lock().unwrap().is_empty();
            Ok(if is_shed { 0 } else { self.now() / 5 })
        }

        fn cpus(&self) -> u32 {
            2
        }

        fn set(&mut self, level: Level) -> Result<(), Error> {
            self.levels.lock().unwrap().push(level);
            Ok(())
        }
    }

    #[test]
    fn a_share_is_of_all_cpus_and_programs_are_told() {
        let (levels, asked) = (Arc::<Mutex<Vec<Level>>>::default(), Arc::<AtomicU64>::default());
        let meter = Pretended { started: Instant::now(), levels: Arc::clone(&levels), asked: Arc::clone(&asked) };
        let spares = Spares { stacks: true, events: true };
        let watch = Watch::spawn((Budget::new(90_000, spares), Box::new(meter))).unwrap();
        while asked.load(Ordering::Relaxed) < 4 {
            std::thread::sleep(Duration::from_millis(10));
        }
        watch.finish();
        let steps = watch.steps();
        assert_eq!(*levels.lock().unwrap(), [Level::NoStacks]);
        assert_eq!(
            steps.iter().map(|step| (step.outcome, step.level)).collect::<Vec<_>>(),
            [(Outcome::Shed, Level::NoStacks)]
        );
        assert!((0.099..0.101).contains(&steps[0].share) && steps[0].time > 0, "{steps:?}");
        assert_eq!(watch.take_error(), None);
    }
}

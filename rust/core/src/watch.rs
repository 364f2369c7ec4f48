//! The thread that watches what tracing costs. In: a [`Budget`], and a [`Meter`] that knows the kernel. Out: levels, told to
//! the programs, and the steps between them, for whoever tells the user.
//!
//! Counting programs' time makes each of their runs dearer, so it is done for a part of each interval, which stands for all of
//! it. This process's time is known anyway.

use std::time::{Duration, Instant};

use crate::budget::{Budget, Level, Outcome};
use crate::error::Error;
use crate::worker::{Shared, Worker};

/// From one look at the budget to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// Of so many parts of an interval, the last one is that in which programs' time is counted.
const PARTS: u32 = 5;
/// Asking costs too, the more CPUs and programs there are: an interval is at least so many times as long as that takes.
const ASKING: u32 = 100;

/// What knows the kernel.
pub trait Meter: Send {
    /// Nanoseconds of the clock that events' times are of.
    fn now(&self) -> u64;

    /// Nanoseconds of CPU time that this process has taken so far.
    fn of_process(&self) -> u64;

    /// Begins to count programs' time, or ends it.
    fn count(&mut self, counts: bool) -> Result<(), Error>;

    /// Nanoseconds that programs have run so far while they were counted.
    fn of_programs(&self) -> Result<u64, Error>;

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
    worker: Worker<State>,
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
        let work = |shared: &Shared<State>| {
            let outcome = run(budget, meter, shared);
            shared.lock().error = outcome.err();
        };
        Ok(Self { worker: Worker::spawn("spile-watch", "watches the budget", work)? })
    }

    /// Every step so far.
    pub fn steps(&self) -> Vec<Step> {
        self.worker.shared().lock().steps.clone()
    }

    /// Ends the thread. The level stays as it is. A second call does nothing.
    pub fn finish(&self) {
        let panicked = self.worker.finish(|state| state.is_ending = true);
        if panicked.is_some() {
            self.worker.shared().lock().error = panicked;
        }
    }

    /// What went wrong on the way, once.
    pub fn take_error(&self) -> Option<Error> {
        self.worker.shared().lock().error.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Lets an interval pass. False when it is time to end.
fn pause(shared: &Shared<State>, interval: Duration) -> bool {
    !shared.wait_while(shared.lock(), interval, |state| !state.is_ending).is_ending
}

fn run(mut budget: Budget, mut meter: Box<dyn Meter>, shared: &Shared<State>) -> Result<(), Error> {
    let mut interval = INTERVAL;
    let (mut time, mut own) = (meter.now(), meter.of_process());
    loop {
        let Some((programs, asking)) = counted(meter.as_mut(), interval, shared)? else { return Ok(()) };
        let (time_now, own_now) = (meter.now(), meter.of_process());
        let share = programs + share(meter.as_ref(), own_now.saturating_sub(own), time_now.saturating_sub(time));
        (time, own) = (time_now, own_now);
        interval = INTERVAL.max(ASKING * asking);
        let Some(outcome) = budget.look(share) else { continue };
        let level = budget.level();
        if outcome != Outcome::Spent {
            meter.set(level)?;
        }
        shared.lock().steps.push(Step { time, outcome, level, share });
    }
}

/// Lets an interval pass. Gives the share that programs took of its last part, and how long asking for that takes; none when
/// it is time to end.
fn counted(
    meter: &mut dyn Meter,
    interval: Duration,
    shared: &Shared<State>,
) -> Result<Option<(f64, Duration)>, Error> {
    let last = interval / PARTS;
    if !pause(shared, interval - last) {
        return Ok(None);
    }
    let asked = Instant::now();
    meter.count(true)?;
    let (began, before) = (meter.now(), meter.of_programs()?);
    // The end of the part takes as long.
    let asking = 2 * asked.elapsed();
    let goes_on = pause(shared, last);
    let (ended, after) = (meter.now(), meter.of_programs()?);
    meter.count(false)?;
    let share = share(meter, after.saturating_sub(before), ended.saturating_sub(began));
    Ok(goes_on.then_some((share, asking)))
}

/// The share that nanoseconds of CPU time are of all CPUs' in so many nanoseconds.
fn share(meter: &dyn Meter, used: u64, elapsed: u64) -> f64 {
    used as f64 / (elapsed.max(1) as f64 * f64::from(meter.cpus().max(1)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::budget::Spares;

    /// Two CPUs, of which programs take a quarter of one, and this process a tenth of one, until somebody sheds.
    struct Pretended {
        started: Instant,
        levels: Arc<Mutex<Vec<Level>>>,
        asked: Arc<AtomicU64>,
        counts: Arc<Mutex<Vec<bool>>>,
    }

    impl Pretended {
        fn is_shed(&self) -> bool {
            !self.levels.lock().unwrap().is_empty()
        }
    }

    impl Meter for Pretended {
        fn now(&self) -> u64 {
            self.started.elapsed().as_nanos() as u64
        }

        fn of_process(&self) -> u64 {
            if self.is_shed() { 0 } else { self.now() / 10 }
        }

        fn count(&mut self, counts: bool) -> Result<(), Error> {
            self.counts.lock().unwrap().push(counts);
            Ok(())
        }

        fn of_programs(&self) -> Result<u64, Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(if self.is_shed() { 0 } else { self.now() / 4 })
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
    fn a_share_is_of_all_cpus_and_programs_are_told_what_to_leave_out() {
        let (levels, counts) = (Arc::<Mutex<Vec<Level>>>::default(), Arc::<Mutex<Vec<bool>>>::default());
        let asked = Arc::<AtomicU64>::default();
        let meter = Pretended {
            started: Instant::now(),
            levels: Arc::clone(&levels),
            asked: Arc::clone(&asked),
            counts: Arc::clone(&counts),
        };
        let spares = Spares { stacks: true, events: true };
        let watch = Watch::spawn((Budget::new(174_000, spares), Box::new(meter))).unwrap();
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
        assert!((0.1745..0.1755).contains(&steps[0].share) && steps[0].time > 0, "{steps:?}");
        let counts = counts.lock().unwrap();
        assert!(counts.len() >= 4 && counts.len() % 2 == 0, "it ends as it began: {counts:?}");
        assert!(counts.chunks_exact(2).all(|pair| pair == [true, false]), "{counts:?}");
        assert_eq!(watch.take_error(), None);
    }
}

//! What a session gives up so that tracing takes no more of the machine than it may. In: the share that it took of each
//! interval's CPU time. Out: steps on a ladder of [`Level`]s.
//!
//! An interval beyond the budget takes the next rung: stacks are left empty; then one event of 2, 4, … 1,024 is sent; then
//! none, and tables and the ledger go on. What would spare nothing is no rung. A rung doubles the events at most, so when the
//! share was below half of the budget in each of [`PATIENCE`] intervals, it goes one rung back; when that proves too soon, it
//! waits for twice as many the next time.

/// Intervals of calm before a step back.
pub const PATIENCE: u32 = 10;
/// The most that it becomes.
const MOST_PATIENCE: u32 = 64 * PATIENCE;
/// The most events of which one is sent.
const FEWEST: u32 = 1 << 10;

/// What programs leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing.
    All,
    /// Stacks, which are empty.
    NoStacks,
    /// Stacks, and all events but one of so many on each CPU.
    Sample(u32),
    /// Stacks and all events: tables and the ledger are what is left.
    CountOnly,
}

impl Level {
    /// Of how many events one is sent; 0 for none.
    pub fn every(self) -> u32 {
        match self {
            Self::All | Self::NoStacks => 1,
            Self::Sample(every) => every,
            Self::CountOnly => 0,
        }
    }

    /// Whether stacks are left empty.
    pub fn is_stackless(self) -> bool {
        self != Self::All
    }
}

/// What there is to be spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spares {
    /// A probe walks stacks.
    pub stacks: bool,
    /// A probe sends events.
    pub events: bool,
}

/// What an interval led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// More is left out.
    Shed,
    /// Less is left out: there is room again.
    Back,
    /// There is nothing more to leave out, and it is still too much.
    Spent,
}

/// The state of one session's budget.
#[derive(Debug)]
pub struct Budget {
    limit: f64,
    ladder: Vec<Level>,
    rung: usize,
    /// Intervals in a row with room.
    calm: u32,
    patience: u32,
    /// Intervals since the last step back.
    since_back: Option<u32>,
    is_spent: bool,
}

impl Budget {
    /// Of a share of all CPUs' time, in millionths.
    pub fn new(millionths: u32, spares: Spares) -> Self {
        let stacks = spares.stacks.then_some(Level::NoStacks);
        let samples = (1..=FEWEST.ilog2()).map(|power| Level::Sample(1 << power)).chain([Level::CountOnly]);
        let events = samples.filter(|_| spares.events);
        Self {
            limit: f64::from(millionths) / 1e6,
            ladder: [Level::All].into_iter().chain(stacks).chain(events).collect(),
            rung: 0,
            calm: 0,
            patience: PATIENCE,
            since_back: None,
            is_spent: false,
        }
    }

    /// What is left out now.
    pub fn level(&self) -> Level {
        self.ladder[self.rung]
    }

    /// Looks at an interval's share.
    pub fn look(&mut self, share: f64) -> Option<Outcome> {
        if let Some(since) = &mut self.since_back {
            *since += 1;
            if *since > self.patience {
                (self.since_back, self.patience) = (None, PATIENCE);
            }
        }
        if share > self.limit {
            return self.shed();
        }
        self.calm = if share < self.limit / 2.0 { self.calm + 1 } else { 0 };
        if self.rung == 0 || self.calm < self.patience {
            return None;
        }
        self.rung -= 1;
        (self.calm, self.since_back, self.is_spent) = (0, Some(0), false);
        Some(Outcome::Back)
    }

    fn shed(&mut self) -> Option<Outcome> {
        self.calm = 0;
        if self.since_back.take().is_some() {
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
        }
        if self.rung + 1 < self.ladder.len() {
            self.rung += 1;
            return Some(Outcome::Shed);
        }
        (!std::mem::replace(&mut self.is_spent, true)).then_some(Outcome::Spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Spares = Spares { stacks: true, events: true };

    /// The levels that so many intervals of one share lead to.
    fn levels(budget: &mut Budget, share: f64, intervals: usize) -> Vec<Level> {
        (0..intervals).filter_map(|_| budget.look(share).map(|_| budget.level())).collect()
    }

    #[test]
    fn stacks_go_first_then_events_then_there_is_nothing_more() {
        let mut budget = Budget::new(30_000, ALL);
        let samples = (1..=10).map(|power| Level::Sample(1 << power));
        let expected: Vec<Level> = [Level::NoStacks].into_iter().chain(samples).chain([Level::CountOnly]).collect();
        assert_eq!(levels(&mut budget, 0.031, 12), expected);
        assert_eq!([budget.look(0.5), budget.look(0.5)], [Some(Outcome::Spent), None], "said once");
    }

    #[test]
    fn what_spares_nothing_is_no_rung() {
        let mut none = Budget::new(1, Spares::default());
        assert_eq!((none.look(1.0), none.level()), (Some(Outcome::Spent), Level::All));
        let mut stacks = Budget::new(1, Spares { stacks: true, events: false });
        assert_eq!([stacks.look(1.0), stacks.look(1.0)], [Some(Outcome::Shed), Some(Outcome::Spent)]);
        assert_eq!(stacks.level(), Level::NoStacks);
        let mut events = Budget::new(1, Spares { stacks: false, events: true });
        assert_eq!((events.look(1.0), events.level()), (Some(Outcome::Shed), Level::Sample(2)));
    }

    #[test]
    fn within_the_budget_nothing_happens() {
        let mut budget = Budget::new(30_000, ALL);
        assert_eq!(levels(&mut budget, 0.03, 1000), []);
        budget.look(0.04);
        assert_eq!(levels(&mut budget, 0.02, 1000), [], "between half of it and all of it everything stays");
    }

    #[test]
    fn calm_gives_a_rung_back_and_a_rung_too_soon_costs_patience() {
        let mut budget = Budget::new(30_000, ALL);
        let shed = |budget: &mut Budget| assert_eq!(budget.look(0.1), Some(Outcome::Shed));
        let calm = |budget: &mut Budget| (1..).find(|_| budget.look(0.001) == Some(Outcome::Back)).unwrap_or(0);
        shed(&mut budget);
        shed(&mut budget);
        assert_eq!((calm(&mut budget), budget.level()), (10, Level::NoStacks));
        shed(&mut budget);
        assert_eq!(calm(&mut budget), 20, "the last one was too soon");
        shed(&mut budget);
        assert_eq!(calm(&mut budget), 40);
        for _ in 0..10 {
            shed(&mut budget);
            calm(&mut budget);
        }
        shed(&mut budget);
        assert_eq!(calm(&mut budget), 640, "and no more than that");
        // It lasted: from here on it is as in the beginning.
        assert_eq!(calm(&mut budget), 640);
        assert_eq!((0..700).filter_map(|_| budget.look(0.02)).next(), None);
        shed(&mut budget);
        assert_eq!(calm(&mut budget), 10);
    }

    #[test]
    fn a_busy_interval_interrupts_the_calm() {
        let mut budget = Budget::new(30_000, ALL);
        budget.look(0.1);
        assert_eq!(levels(&mut budget, 0.001, 9), []);
        assert_eq!(budget.look(0.016), None);
        assert_eq!(levels(&mut budget, 0.001, 9), []);
        assert_eq!(levels(&mut budget, 0.001, 1), [Level::All]);
    }
}

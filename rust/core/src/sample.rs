//! Keeps one event of so many while a slow script's queue fills. In: how full the queue is, and each event. Out: whether it
//! is kept; how many of each were not.
//!
//! Up to half of the queue everything is kept. Beyond it one of 2, then of 4 in the last quarter, of 8 in the last eighth,
//! and so on: the number settles where the script keeps up. Each kind of event is counted off by itself, so what is kept
//! of each is a fair share of it. Tables count every event all the same.

/// The most of which one is kept.
const FEWEST: usize = 1 << 10;

/// The state of one session's sampling.
#[derive(Debug)]
pub struct Sampler {
    every: u32,
    /// By event id: how many came since one was kept.
    since: Vec<u32>,
    /// By event id: how many were not kept, since somebody took them.
    left_out: Vec<u64>,
}

impl Sampler {
    /// Keeps everything, of events with ids below this.
    pub fn new(ids: usize) -> Self {
        Self { every: 1, since: vec![0; ids], left_out: vec![0; ids] }
    }

    /// Looks at a queue that holds so many bytes of the most that it may.
    pub fn fit(&mut self, bytes: usize, limit: usize) {
        let free = limit.saturating_sub(bytes).max(1);
        self.every = 1 << (limit / free).clamp(1, FEWEST).ilog2();
    }

    /// Whether the next event with this id is kept.
    #[inline]
    pub fn keeps(&mut self, id: u16) -> bool {
        let Some(since) = self.since.get_mut(usize::from(id)) else { return true };
        *since += 1;
        if *since >= self.every {
            *since = 0;
            return true;
        }
        self.left_out[usize::from(id)] += 1;
        false
    }

    /// How many of each id were not kept since the last call.
    pub fn take(&mut self) -> Option<Vec<u64>> {
        let ids = self.left_out.len();
        let has_some = self.left_out.iter().any(|&count| count > 0);
        has_some.then(|| std::mem::replace(&mut self.left_out, vec![0; ids]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_the_fewer_and_each_kind_by_itself() {
        let mut sampler = Sampler::new(3);
        for (bytes, every) in [(0, 1), (499, 1), (500, 2), (749, 2), (750, 4), (875, 8), (1000, 512), (5000, 512)] {
            sampler.fit(bytes, 1000);
            assert_eq!(sampler.every, every, "{bytes} of 1000");
        }
        sampler.fit(750, 1000);
        let kept = (0..40).filter(|_| sampler.keeps(1)).count();
        let others = (0..8).filter(|_| sampler.keeps(2)).count();
        assert_eq!((kept, others), (10, 2));
        assert_eq!(sampler.take(), Some(vec![0, 30, 6]));
        assert_eq!(sampler.take(), None);
    }
}

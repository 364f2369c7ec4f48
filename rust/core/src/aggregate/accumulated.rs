//! What was accumulated under one key, as a script sees it.

use std::cmp::Ordering;

use super::distinct;
use super::key::Part;

/// What was accumulated, in the form that its aggregate has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accumulated {
    /// How many events.
    Count(u64),
    /// Their values' sum.
    Sum(i128),
    /// The least of them.
    Least(i128),
    /// The greatest.
    Greatest(i128),
    /// What their mean is made of.
    Mean {
        /// How many events.
        hits: u64,
        /// Their values' sum.
        sum: i128,
    },
    /// Numbers of their values.
    Stats {
        /// How many events.
        hits: u64,
        /// Their values' sum.
        sum: i128,
        /// The least of them.
        least: i128,
        /// The greatest.
        greatest: i128,
    },
    /// Hits by bin, in the order of bins ([`super::bin`]).
    Bins(Vec<(i64, u64)>),
    /// The most frequent values.
    Top {
        /// How many events.
        hits: u64,
        /// The values, most frequent first.
        items: Vec<Heavy>,
    },
    /// The greatest rank of each register ([`super::bin::register`]).
    Registers(Box<[u8]>),
}

/// A frequent value: it occurred `hits` times at most, and `hits - error` times at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heavy {
    /// The value.
    pub item: Part,
    /// How often it occurred, at most.
    pub hits: u64,
    /// How much of that may be others'.
    pub error: u64,
}

/// A key's place among others: greater for what there is more of. A mean's fraction is told apart, for its whole part may be
/// too great to have one in a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rank {
    whole: i128,
    fraction: f64,
}

impl From<i128> for Rank {
    fn from(whole: i128) -> Self {
        Self { whole, fraction: 0.0 }
    }
}

impl From<u64> for Rank {
    fn from(whole: u64) -> Self {
        i128::from(whole).into()
    }
}

impl Rank {
    /// By a mean.
    pub(super) fn of_mean(hits: u64, sum: i128) -> Self {
        let hits = i128::from(hits.max(1));
        Self { whole: sum.div_euclid(hits), fraction: sum.rem_euclid(hits) as f64 / hits as f64 }
    }

    /// By an estimate.
    pub(super) fn of_registers(registers: &[u8]) -> Self {
        i128::from(distinct::estimate(registers).round() as u64).into()
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        self.whole.cmp(&other.whole).then(self.fraction.total_cmp(&other.fraction))
    }
}

//! Histograms: hits by the bins that have some, in their order. Of the kernel's tables each bin is a row of its own.

use super::accumulated::{Accumulated, Rank};
use super::accumulator::{Accumulator, Given};
use super::bin::Bin;
use super::row::RowLayout;

/// Hits by bin.
#[derive(Debug, Clone)]
pub(super) struct Bins(Vec<(i64, u64)>);

impl Accumulator for Bins {
    type Form = Bin;
    type Item<'a> = i64;

    #[inline]
    fn of_value(bin: Bin, given: Option<Given<'_>>, _: u64) -> Option<i64> {
        Some(bin.of(given?.number()?))
    }

    #[inline]
    fn of_row(_: Bin, layout: &RowLayout, row: &[u64]) -> Option<i64> {
        row.get(layout.extra_at).map(|bin| bin.cast_signed())
    }

    fn new(_: Bin) -> Self {
        Self(Vec::new())
    }

    #[inline]
    fn add(&mut self, _: Bin, bin: i64, hits: u64) {
        match self.0.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(hits),
            Err(place) => self.0.insert(place, (bin, hits)),
        }
    }

    fn accumulated(&self, _: Bin) -> Accumulated {
        Accumulated::Bins(self.0.clone())
    }

    fn rank(&self, _: Bin) -> Rank {
        self.0.iter().map(|(_, hits)| i128::from(*hits)).sum::<i128>().into()
    }
}

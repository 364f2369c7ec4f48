//! Accumulators of a few numbers: count, sum, least, greatest, mean, and all of these. Sums have 128 bits, which hold those
//! of 2^64 values; a partial sum from a table in the kernel has 64 bits, read with its values' sign.

use super::accumulated::{Accumulated, Rank};
use super::accumulator::{Accumulator, Given};
use super::row::{Kept, RowLayout, ordered};
use crate::layout::FieldType;

/// A word of a row, of an aggregate of integers.
#[inline]
fn kept(layout: &RowLayout, row: &[u64], wanted: Kept) -> Option<i128> {
    let word = *row.get(layout.place(wanted)?)?;
    let signed = matches!(layout.value, Some(FieldType::Int { signed: true, .. }));
    let bits = match wanted {
        Kept::Least => ordered(!word, signed),
        Kept::Greatest => ordered(word, signed),
        Kept::Hits | Kept::Sum | Kept::Rank => word,
    };
    Some(if signed { bits.cast_signed().into() } else { bits.into() })
}

/// The number of events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(u64);

impl Accumulator for Count {
    type Form = ();
    type Item<'a> = ();

    #[inline]
    fn of_value(_: (), _: Option<Given<'_>>, _: u64) -> Option<()> {
        Some(())
    }

    #[inline]
    fn of_row(_: (), _: &RowLayout, _: &[u64]) -> Option<()> {
        Some(())
    }

    #[inline]
    fn new((): ()) -> Self {
        Self(0)
    }

    #[inline]
    fn add(&mut self, (): (), (): (), hits: u64) {
        self.0 = self.0.saturating_add(hits);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        Accumulated::Count(self.0)
    }

    fn rank(&self, (): ()) -> Rank {
        self.0.into()
    }
}

/// A sum; packed, for a table has many, and 128 bits alone would ask for an alignment of 16 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(8))]
pub(super) struct Sum(i128);

impl Accumulator for Sum {
    type Form = ();
    type Item<'a> = i128;

    #[inline]
    fn of_value(_: (), given: Option<Given<'_>>, hits: u64) -> Option<i128> {
        given?.sum(hits)
    }

    #[inline]
    fn of_row(_: (), layout: &RowLayout, row: &[u64]) -> Option<i128> {
        kept(layout, row, Kept::Sum)
    }

    fn new((): ()) -> Self {
        Self(0)
    }

    #[inline]
    fn add(&mut self, (): (), sum: i128, _: u64) {
        self.0 = { self.0 }.saturating_add(sum);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        Accumulated::Sum(self.0)
    }

    fn rank(&self, (): ()) -> Rank {
        { self.0 }.into()
    }
}

/// The least value.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(8))]
pub(super) struct Least(i128);

impl Accumulator for Least {
    type Form = ();
    type Item<'a> = i128;

    #[inline]
    fn of_value(_: (), given: Option<Given<'_>>, _: u64) -> Option<i128> {
        given?.number()
    }

    #[inline]
    fn of_row(_: (), layout: &RowLayout, row: &[u64]) -> Option<i128> {
        kept(layout, row, Kept::Least)
    }

    fn new((): ()) -> Self {
        Self(i128::MAX)
    }

    #[inline]
    fn add(&mut self, (): (), value: i128, _: u64) {
        self.0 = { self.0 }.min(value);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        Accumulated::Least(self.0)
    }

    fn rank(&self, (): ()) -> Rank {
        { self.0 }.into()
    }
}

/// The greatest value.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(8))]
pub(super) struct Greatest(i128);

impl Accumulator for Greatest {
    type Form = ();
    type Item<'a> = i128;

    #[inline]
    fn of_value(_: (), given: Option<Given<'_>>, _: u64) -> Option<i128> {
        given?.number()
    }

    #[inline]
    fn of_row(_: (), layout: &RowLayout, row: &[u64]) -> Option<i128> {
        kept(layout, row, Kept::Greatest)
    }

    fn new((): ()) -> Self {
        Self(i128::MIN)
    }

    #[inline]
    fn add(&mut self, (): (), value: i128, _: u64) {
        self.0 = { self.0 }.max(value);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        Accumulated::Greatest(self.0)
    }

    fn rank(&self, (): ()) -> Rank {
        { self.0 }.into()
    }
}

/// A sum and how many it is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean {
    hits: u64,
    sum: Sum,
}

impl Accumulator for Mean {
    type Form = ();
    type Item<'a> = i128;

    #[inline]
    fn of_value(_: (), given: Option<Given<'_>>, hits: u64) -> Option<i128> {
        given?.sum(hits)
    }

    #[inline]
    fn of_row(_: (), layout: &RowLayout, row: &[u64]) -> Option<i128> {
        kept(layout, row, Kept::Sum)
    }

    fn new((): ()) -> Self {
        Self { hits: 0, sum: Sum(0) }
    }

    #[inline]
    fn add(&mut self, (): (), sum: i128, hits: u64) {
        self.hits = self.hits.saturating_add(hits);
        self.sum.add((), sum, hits);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        Accumulated::Mean { hits: self.hits, sum: self.sum.0 }
    }

    fn rank(&self, (): ()) -> Rank {
        Rank::of_mean(self.hits, self.sum.0)
    }
}

/// All of these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    mean: Mean,
    least: Least,
    greatest: Greatest,
}

/// Of some events: their values' sum, the least and the greatest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summed {
    sum: i128,
    least: i128,
    greatest: i128,
}

impl Accumulator for Stats {
    type Form = ();
    type Item<'a> = Summed;

    #[inline]
    fn of_value(_: (), given: Option<Given<'_>>, hits: u64) -> Option<Summed> {
        let value = given?.number()?;
        Some(Summed { sum: given?.sum(hits)?, least: value, greatest: value })
    }

    #[inline]
    fn of_row(_: (), layout: &RowLayout, row: &[u64]) -> Option<Summed> {
        let [sum, least, greatest] = [Kept::Sum, Kept::Least, Kept::Greatest].map(|word| kept(layout, row, word));
        Some(Summed { sum: sum?, least: least?, greatest: greatest? })
    }

    fn new((): ()) -> Self {
        Self { mean: Mean::new(()), least: Least::new(()), greatest: Greatest::new(()) }
    }

    #[inline]
    fn add(&mut self, (): (), item: Summed, hits: u64) {
        self.mean.add((), item.sum, hits);
        self.least.add((), item.least, hits);
        self.greatest.add((), item.greatest, hits);
    }

    fn accumulated(&self, (): ()) -> Accumulated {
        let Mean { hits, sum } = self.mean;
        Accumulated::Stats { hits, sum: sum.0, least: self.least.0, greatest: self.greatest.0 }
    }

    /// What took the most in all comes first.
    fn rank(&self, (): ()) -> Rank {
        self.mean.sum.rank(())
    }
}

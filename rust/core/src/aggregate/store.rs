//! A table's contents, whatever it accumulates. In: records of each kind, with the places of their keys and values. Out:
//! rows for a script. One virtual call for an event or for many rows; behind it everything is made for its accumulator.

use std::fmt::Debug;

use super::accumulated::{Accumulated, Rank};
use super::accumulator::{Accumulator, Given};
use super::bin::Bin;
use super::bins::Bins;
use super::distinct::Registers;
use super::field::Field;
use super::key::{Part, Strings, Word};
use super::keyed::Keyed;
use super::numbers::{Count, Greatest, Least, Mean, Stats, Sum};
use super::row::{Extra, RowLayout};
use super::table::Row;
use super::top::Top;
use crate::event::{Column, Event};
use crate::source::rows::Rows;
use crate::spec::AggregateFunction;
use crate::words::Words;

/// Accumulators by key. What it gives back of what is added: the hits that had a key and a value.
pub(super) trait Store: Debug + Send {
    /// An event that stands for so many, and the columns of its key, behind them its value's.
    fn event(&mut self, event: &Event<'_>, columns: &[Option<Column>], hits: u64) -> u64;

    /// What is left of events.
    fn rows(&mut self, rows: &Rows, columns: &[Words]) -> u64;

    /// A row that a script kept: its key's columns, and the words that are kept under them.
    fn tallied<'a>(
        &mut self,
        event: &'a Event<'a>,
        key: &[Option<Column>],
        layout: &RowLayout,
        words: &'a [u64],
    ) -> u64;

    /// Rows that were kept in a table of limited size.
    fn merge(&mut self, layout: &RowLayout, rows: &[u64]) -> u64;

    /// The number of keys.
    fn len(&self) -> usize;

    /// What a key has.
    fn get(&self, key: &[Part]) -> Option<Accumulated>;

    /// Everything, in no order.
    fn each(&self) -> Vec<Row>;

    /// So many rows, those with most first; equal ones by key.
    fn top(&self, most: usize) -> Vec<Row>;

    /// An empty one of the same kind.
    fn fresh(&self) -> Box<dyn Store>;

    /// A copy, which stays as it is.
    fn copy(&self) -> Box<dyn Store>;
}

/// For an aggregate, by keys of so many parts.
pub(super) fn store(function: AggregateFunction, parts: usize) -> Box<dyn Store> {
    match function {
        AggregateFunction::Count => Stored::<Count>::boxed((), parts),
        AggregateFunction::Sum => Stored::<Sum>::boxed((), parts),
        AggregateFunction::Min => Stored::<Least>::boxed((), parts),
        AggregateFunction::Max => Stored::<Greatest>::boxed((), parts),
        AggregateFunction::Avg => Stored::<Mean>::boxed((), parts),
        AggregateFunction::Stats => Stored::<Stats>::boxed((), parts),
        AggregateFunction::Hist | AggregateFunction::Lhist { .. } | AggregateFunction::Quantiles => {
            let bin = match function.extra() {
                Some(Extra::Bin(bin)) => bin,
                _ => Bin::Log2,
            };
            Stored::<Bins>::boxed(bin, parts)
        }
        AggregateFunction::Top { size } => Stored::<Top>::boxed(size as usize, parts),
        AggregateFunction::Distinct => Stored::<Registers>::boxed((), parts),
    }
}

#[derive(Debug, Clone)]
struct Stored<A: Accumulator> {
    form: A::Form,
    parts: usize,
    keyed: Keyed<A>,
    strings: Strings,
}

impl<A: Accumulator> Stored<A> {
    fn new(form: A::Form, parts: usize) -> Self {
        Self { form, parts, keyed: Keyed::new(parts), strings: Strings::default() }
    }

    fn boxed(form: A::Form, parts: usize) -> Box<dyn Store> {
        Box::new(Self::new(form, parts))
    }

    /// Adds records, each so many times; columns are those of the key, and behind them the value's.
    #[inline]
    fn add<'a, F: Field<'a>>(&mut self, columns: &[F], records: impl Iterator<Item = (F::Record, u64)>) -> u64 {
        let Self { form, parts, keyed, strings } = self;
        let Some((key, value)) = columns.split_at_checked(*parts) else { return 0 };
        let value = value.first().and_then(|value| Some((*value, value.ty()?)));
        let given = |record| value.map(|(field, ty)| Given { value: field.value(record), ty });
        let form = *form;
        keyed.add(form, key, strings, records, |record, hits| A::of_value(form, given(record), hits))
    }

    fn row(&self, words: &[Word], found: &A) -> Row {
        (words.iter().map(|word| self.strings.part(*word)).collect(), found.accumulated(self.form))
    }
}

impl<A: Accumulator> Store for Stored<A> {
    fn event(&mut self, event: &Event<'_>, columns: &[Option<Column>], hits: u64) -> u64 {
        self.add(columns, std::iter::once((event, hits)))
    }

    fn rows(&mut self, rows: &Rows, columns: &[Words]) -> u64 {
        self.add(columns, rows.iter())
    }

    fn tallied<'a>(
        &mut self,
        event: &'a Event<'a>,
        key: &[Option<Column>],
        layout: &RowLayout,
        words: &'a [u64],
    ) -> u64 {
        let Self { form, parts, keyed, strings } = self;
        let (form, hits) = (*form, words.get(layout.kept_at).copied().unwrap_or_default());
        if key.len() != *parts || hits == 0 {
            return 0;
        }
        keyed.add(form, key, strings, std::iter::once((event, hits)), |_, _| A::of_row(form, layout, words))
    }

    fn merge(&mut self, layout: &RowLayout, rows: &[u64]) -> u64 {
        let Self { form, parts, keyed, strings } = self;
        let (form, hits_at) = (*form, layout.kept_at);
        if layout.key.len() != *parts || hits_at >= layout.width {
            return 0;
        }
        let rows = rows.chunks_exact(layout.width).map(|row| (row, row[hits_at])).filter(|(_, hits)| *hits > 0);
        keyed.add(form, &layout.key, strings, rows, |row, _| A::of_row(form, layout, row))
    }

    fn len(&self) -> usize {
        self.keyed.len()
    }

    fn get(&self, key: &[Part]) -> Option<Accumulated> {
        let words: Option<Vec<Word>> = key.iter().map(|part| self.strings.find(part)).collect();
        self.keyed.get(&words?).map(|found| found.accumulated(self.form))
    }

    fn each(&self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.keyed.len());
        self.keyed.each(|words, found| rows.push(self.row(words, found)));
        rows
    }

    fn top(&self, most: usize) -> Vec<Row> {
        let mut ranked = Vec::with_capacity(self.keyed.len());
        self.keyed.each(|words, found| ranked.push((found.rank(self.form), words, found)));
        let part = |word: &Word| self.strings.part(*word);
        let by_rank = |a: &(Rank, &[Word], &A), b: &(Rank, &[Word], &A)| {
            b.0.cmp(&a.0).then_with(|| a.1.iter().map(part).cmp(b.1.iter().map(part)))
        };
        if most < ranked.len() {
            ranked.select_nth_unstable_by(most, by_rank);
            ranked.truncate(most);
        }
        ranked.sort_unstable_by(by_rank);
        ranked.into_iter().map(|(_, words, found)| self.row(words, found)).collect()
    }

    fn fresh(&self) -> Box<dyn Store> {
        Self::boxed(self.form, self.parts)
    }

    fn copy(&self) -> Box<dyn Store> {
        Box::new(self.clone())
    }
}

//! The most frequent values: counters for a bounded number of them, each with what it may be wrong by. In: values and how
//! often they came. Out: the most frequent ones.
//!
//! A value without a counter has occurred [`Top::floor`] times at most, so one that comes (again) begins there: its counter
//! is never too small, and too great by the floor that it began at and no more. When there are twice as many counters as
//! need be, the smaller half goes, and the floor becomes the greatest of those. That is Space-Saving's bound (Metwally,
//! Agrawal, El Abbadi, 2005) by Misra and Gries's isomorphic form (Agarwal et al.: Mergeable summaries, 2012) with removals
//! in batches (Anderson et al., 2017): each time the floor rises by d, as many counters as need be, C, had d of theirs that
//! nobody else counts, so of N hits the floor is N / C at most. Rows of several hits are added as one, and summaries merge.
//!
//! While there have been no more values than counters, all is exact. A value's text goes with its counter, so memory is
//! bounded too.

use std::hash::{Hash, Hasher};

use hashbrown::{Equivalent, HashMap};
use rustc_hash::FxBuildHasher;

use super::accumulated::{Accumulated, Heavy, Rank};
use super::accumulator::{Accumulator, Given};
use super::key::Part;
use super::row::RowLayout;
use crate::event::Value;

/// Counters for each value that is asked for: who asks for the first ten cares who the eleventh is, where they are close.
const COUNTERS: usize = 8;
/// Counters at least.
const LEAST: usize = 256;

/// Counters of values.
#[derive(Debug, Clone)]
pub(super) struct Top {
    counters: HashMap<Kept, Counter, FxBuildHasher>,
    hits: u64,
    /// What a value without a counter may have.
    floor: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    hits: u64,
    error: u64,
}

/// A value with a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept(Part);

/// A value that comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a>(Value<'a>);

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Part::Unsigned(bits) | Part::KernelStack(bits) | Part::UserStack(bits) => state.write_u64(*bits),
            Part::Negative(value) => state.write_u64(value.cast_unsigned()),
            Part::Name(id) => state.write_u64(u64::from(*id)),
            Part::Text(text) => state.write(text),
        }
    }
}

impl Hash for Item<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Value::Unsigned(bits) | Value::Stack { hash: bits, .. } => state.write_u64(bits),
            Value::Signed(value) => state.write_u64(value.cast_unsigned()),
            Value::Name(id) => state.write_u64(u64::from(id)),
            Value::String { bytes, .. } => state.write(bytes),
            Value::Null => {}
        }
    }
}

impl Equivalent<Kept> for Item<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        match (self.0, &kept.0) {
            (Value::String { bytes, .. }, Part::Text(text)) => bytes == &**text,
            (value, part) => Part::of(value).is_some_and(|it| it == *part),
        }
    }
}

impl Top {
    /// Lets go of all but so many counters, at least; none of those that stay is smaller than one that goes.
    fn shrink(&mut self, most: usize) {
        let mut hits: Vec<u64> = self.counters.values().map(|counter| counter.hits).collect();
        if hits.len() <= most {
            return;
        }
        let (_, greatest_to_go, _) = hits.select_nth_unstable_by(most, |one, other| other.cmp(one));
        self.floor = self.floor.max(*greatest_to_go);
        let floor = self.floor;
        self.counters.retain(|_, counter| counter.hits > floor);
    }

    /// Counters that stay, for a list of so many.
    fn counters(size: usize) -> usize {
        size.saturating_mul(COUNTERS).max(LEAST)
    }

    fn heavy(&self, most: usize) -> Vec<Heavy> {
        let heavy = |(item, counter): (&Kept, &Counter)| Heavy {
            item: item.0.clone(),
            hits: counter.hits,
            error: counter.error,
        };
        let mut items: Vec<Heavy> = self.counters.iter().map(heavy).collect();
        items.sort_unstable_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.item.cmp(&b.item)));
        items.truncate(most);
        items
    }
}

impl Accumulator for Top {
    /// The length of the list.
    type Form = usize;
    type Item<'a> = Item<'a>;

    #[inline]
    fn of_value(_: usize, given: Option<Given<'_>>, _: u64) -> Option<Item<'_>> {
        given.map(|given| given.value).filter(|value| *value != Value::Null).map(Item)
    }

    #[inline]
    fn of_row<'a>(_: usize, layout: &RowLayout, row: &'a [u64]) -> Option<Item<'a>> {
        let value = layout.item?.value(row);
        (value != Value::Null).then_some(Item(value))
    }

    fn new(_: usize) -> Self {
        Self { counters: HashMap::default(), hits: 0, floor: 0 }
    }

    fn add(&mut self, size: usize, item: Item<'_>, hits: u64) {
        self.hits = self.hits.saturating_add(hits);
        if let Some(counter) = self.counters.get_mut(&item) {
            counter.hits = counter.hits.saturating_add(hits);
            return;
        }
        let Some(part) = Part::of(item.0) else { return };
        let counter = Counter { hits: self.floor.saturating_add(hits), error: self.floor };
        self.counters.insert(Kept(part), counter);
        let most = Self::counters(size);
        if self.counters.len() >= 2 * most {
            self.shrink(most);
        }
    }

    fn accumulated(&self, size: usize) -> Accumulated {
        Accumulated::Top { hits: self.hits, items: self.heavy(size) }
    }

    fn rank(&self, _: usize) -> Rank {
        self.hits.into()
    }
}

/// The list of two lists' events, each as [`Accumulated::Top`] has it with `hits` in all. A value that only one of them has
/// may be in the other as often as the last one there, unless that list is of all its values.
pub fn merged(size: usize, lists: [(u64, &[Heavy]); 2]) -> Vec<Heavy> {
    let floors = lists.map(|(hits, items)| floor(size, hits, items));
    let mut together: HashMap<&Part, [Option<&Heavy>; 2], FxBuildHasher> = HashMap::default();
    for (index, (_, items)) in lists.iter().enumerate() {
        items.iter().for_each(|heavy| together.entry(&heavy.item).or_default()[index] = Some(heavy));
    }
    let heavy = |(item, found): (&Part, [Option<&Heavy>; 2])| {
        let [one, other] =
            [0, 1].map(|index| found[index].map_or([floors[index]; 2], |heavy| [heavy.hits, heavy.error]));
        let [hits, error] = [0, 1].map(|part| one[part].saturating_add(other[part]));
        Heavy { item: item.clone(), hits, error }
    };
    let mut items: Vec<Heavy> = together.into_iter().map(heavy).collect();
    items.sort_unstable_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.item.cmp(&b.item)));
    items.truncate(size);
    items
}

/// What a value may have that is not in the list.
fn floor(size: usize, hits: u64, items: &[Heavy]) -> u64 {
    let least: u64 = items.iter().map(|heavy| heavy.hits - heavy.error.min(heavy.hits)).sum();
    let unseen = hits.saturating_sub(least);
    let last = if items.len() < size { 0 } else { items.last().map_or(0, |heavy| heavy.hits) };
    unseen.min(last)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type List = (u64, Vec<Heavy>);

    fn list(size: usize, values: &[(u64, u64)]) -> List {
        let mut top = Top::new(size);
        values.iter().for_each(|(value, hits)| top.add(size, Item(Value::Unsigned(*value)), *hits));
        (top.hits, top.heavy(size))
    }

    fn exact(values: &[(u64, u64)]) -> HashMap<u64, u64> {
        let mut counts = HashMap::new();
        values.iter().for_each(|(value, hits)| *counts.entry(*value).or_default() += hits);
        counts
    }

    /// Whether each bound holds, and no value is missing that is certain to belong there.
    fn check((hits, items): &List, size: usize, counts: &HashMap<u64, u64>, floor: u64) -> Result<(), TestCaseError> {
        prop_assert_eq!(*hits, counts.values().sum::<u64>());
        prop_assert!(items.len() <= size && items.is_sorted_by(|a, b| a.hits >= b.hits));
        let number = |part: &Part| if let Part::Unsigned(number) = part { *number } else { u64::MAX };
        for Heavy { item, hits, error } in items {
            let real = counts[&number(item)];
            prop_assert!(real <= *hits && hits - error <= real, "{item:?}: {hits} - {error}, not {real}");
        }
        let least = items.last().map_or(0, |heavy| heavy.hits);
        for (value, real) in counts {
            let listed = items.iter().any(|heavy| number(&heavy.item) == *value);
            prop_assert!(listed || *real <= least.max(floor), "{value} occurred {real} times");
        }
        Ok(())
    }

    /// Of few values some are frequent, of many most are not.
    fn streams() -> impl Strategy<Value = Vec<(u64, u64)>> {
        vec((prop_oneof![0..20_u64, 0..100_000_u64], 1..5_u64), 0..3000)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn bounds_hold(size in 1..40_usize, values in streams()) {
            let (list, counts) = (list(size, &values), exact(&values));
            let floor = list.0 / Top::counters(size) as u64;
            check(&list, size, &counts, floor)?;
            prop_assert!(list.1.iter().all(|heavy| heavy.error <= floor));
            let distinct = counts.len();
            prop_assert!(distinct >= 2 * Top::counters(size) || list.1.iter().all(|heavy| heavy.error == 0));
        }

        #[test]
        fn bounds_hold_of_what_is_merged(size in 1..40_usize, one in streams(), other in streams()) {
            let (a, b) = (list(size, &one), list(size, &other));
            let merged = (a.0 + b.0, merged(size, [(a.0, &a.1), (b.0, &b.1)]));
            let counts = exact(&[one, other].concat());
            let floors = floor(size, a.0, &a.1) + floor(size, b.0, &b.1);
            check(&merged, size, &counts, floors)?;
        }
    }

    #[test]
    fn texts_are_values_too() {
        let mut top = Top::new(2);
        let of = |text: &'static str| Item(Value::String { bytes: text.as_bytes(), cut: false });
        ["ld", "cc1", "ld", "as", "ld", "cc1"].into_iter().for_each(|text| top.add(2, of(text), 1));
        let heavy = |text: &str, hits| Heavy { item: Part::Text(text.as_bytes().into()), hits, error: 0 };
        assert_eq!(top.accumulated(2), Accumulated::Top { hits: 6, items: vec![heavy("ld", 3), heavy("cc1", 2)] });
        assert_eq!(Top::of_value(2, None, 1).map(|_| ()), None);
        top.shrink(1);
        let again = top.counters.get(&of("ld")).unwrap();
        assert_eq!((again.hits, again.error, top.floor), (3, 0, 2));
    }
}

//! The ledger: what became of every hit. In: the kernel's rows, and the user side's numbers. Out: rows that balance.

use serde::{Deserialize, Serialize};

use crate::event::Layouts;

/// The account of one target of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Index of the probe in the spec.
    pub probe: u32,
    /// Index of the target in the probe.
    pub target: u32,
    /// The probe fired, for a task that the session's target filter lets through; with what the kernel missed.
    pub hits: u64,
    /// `where=` was false.
    pub filtered: u64,
    /// Events that reached the user side and were not dropped there.
    pub delivered: u64,
    /// Hits that tables in the kernel keep, all that they are for.
    pub tabled: u64,
    /// There was no room in the ring.
    pub ring_full: u64,
    /// Too many probes interrupted each other.
    pub re_entered: u64,
    /// The kernel did not run the probe, which was running on that CPU already.
    pub missed: u64,
    /// A read that `where=`, or a span's key, needs faulted.
    pub faulted: u64,
    /// The transport between the kernel and spile lost it, or damaged it.
    pub transport_lost: u64,
    /// A slow consumer left no room in the queue.
    pub dropped: u64,
    /// Not the one of so many that the probe takes (`sample`).
    pub unsampled: u64,
    /// Left out of a sample, for the queue of a slow consumer was filling (`on_full`).
    pub sampled_out: u64,
    /// Left out by the budget's sampling (`max_overhead`); tables in the kernel count it all the same.
    pub budget_sampled: u64,
    /// Left out while the budget let only count; tables in the kernel count it all the same.
    pub budget_counted: u64,
    /// The end of a span without a start: it began before the session, or its start is among another number.
    pub unmatched: u64,
    /// The start of a span, which is kept until its end.
    pub opened: u64,
    /// The start of a span that is open already, and isn't begun anew (`restart=False`).
    pub already_open: u64,
    /// The start of a span, for which there was no room: as many were open as the table holds.
    pub open_full: u64,
    /// Remark: the end of a span that found its start.
    pub matched: u64,
    /// Remark: a start of a span that was replaced by another one, which is the one that is counted here.
    pub overwritten: u64,
    /// Remark: starts of a span that have no end so far; they stand in the row of its first start that began one.
    pub left_open: u64,
    /// Remark: a stack could not be walked; its event has a null in its place.
    pub stack_failed: u64,
    /// Remark: its stacks were left empty for the budget.
    pub budget_stacks: u64,
    /// Remark: a stack's definition found no room; the next hit sends it again.
    pub stack_definition_lost: u64,
    /// Remark: hits that found room neither in a table nor, for that, in the ring; their event is another matter.
    pub table_lost: u64,
    /// Remark: events delivered after later ones.
    pub late: u64,
}

impl Row {
    /// Hits without a fate: 0 in a ledger that balances.
    pub fn balance(&self) -> i128 {
        let Self { filtered, delivered, ring_full, re_entered, missed, faulted, transport_lost, dropped, .. } = *self;
        let Self { budget_sampled, budget_counted, .. } = *self;
        let Self { tabled, unsampled, sampled_out, unmatched, opened, already_open, open_full, .. } = *self;
        let fates = [
            [filtered, delivered, ring_full, re_entered, missed, faulted, transport_lost, dropped].as_slice(),
            &[
                budget_sampled,
                budget_counted,
                tabled,
                unsampled,
                sampled_out,
                unmatched,
                opened,
                already_open,
                open_full,
            ],
        ]
        .concat();
        i128::from(self.hits) - fates.into_iter().map(i128::from).sum::<i128>()
    }
}

/// Enters what is left open of each span: of all of its rows together, opened = matched + overwritten + left open.
pub fn settle(rows: &mut [Row]) {
    let mut settled = None;
    for index in 0..rows.len() {
        let probe = rows[index].probe;
        if rows[index].opened == 0 || settled.replace(probe) == Some(probe) {
            continue;
        }
        let sum = |of: fn(&Row) -> u64| rows.iter().filter(|row| row.probe == probe).map(of).sum::<u64>();
        // A span that is open for a moment only may be counted as ended before it is as begun, while the session runs.
        rows[index].left_open =
            sum(|row| row.opened).saturating_sub(sum(|row| row.matched) + sum(|row| row.overwritten));
    }
}

/// Enters what the user side knows into the kernel's rows: by event id, what the queue dropped, what was left out of a
/// sample, and what came late.
pub fn account(rows: &mut [Row], layouts: &Layouts, dropped: &[u64], sampled_out: &[u64], late: &[u64]) {
    for layout in layouts.iter() {
        let (schema, id) = (&layout.schema, usize::from(layout.schema.id));
        let row = rows.iter_mut().find(|row| (row.probe, row.target) == (schema.probe, schema.target));
        let Some(row) = row else { continue };
        row.dropped = dropped.get(id).copied().unwrap_or(0);
        row.sampled_out = sampled_out.get(id).copied().unwrap_or(0);
        row.late = late.get(id).copied().unwrap_or(0);
        // The kernel's row may be older than the queue's number while the session runs.
        row.delivered = row.delivered.saturating_sub(row.dropped + row.sampled_out);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::layout::{Encoding, EventLayout, EventSchema};

    #[test]
    fn a_dropped_event_is_no_delivered_one() {
        let schema =
            EventSchema { id: 1, probe: 0, target: 0, fields: Vec::new(), keys: Vec::new(), values: Vec::new() };
        let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
        let layouts = Layouts::new(vec![layout]).unwrap();
        let mut rows = [Row { hits: 10, filtered: 3, delivered: 7, ..Row::default() }];
        account(&mut rows, &layouts, &[0, 2], &[0, 3], &[0, 1]);
        assert_eq!((rows[0].delivered, rows[0].dropped, rows[0].sampled_out), (2, 2, 3));
        assert_eq!((rows[0].late, rows[0].balance()), (1, 0));
    }
}

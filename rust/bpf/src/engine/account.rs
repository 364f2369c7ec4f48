//! One target's account. In: its ledger words and the kernel's own count of misses. Out: a [`Row`].

use spile_core::error::Error;
use spile_core::loss::Row;

use super::maps::Maps;
use super::plan::Planned;
use crate::compile::Ledger;

/// What became of every hit.
pub(super) fn row(planned: &Planned, missed: u64, maps: &Maps) -> Result<Row, Error> {
    let words = maps.ledger_row(planned.id)?;
    let word = |entry: Ledger| words.get(entry as usize).copied().unwrap_or(0);
    Ok(Row {
        probe: planned.probe,
        target: planned.target,
        hits: word(Ledger::Hits) + missed,
        filtered: word(Ledger::Filtered),
        delivered: word(Ledger::Delivered),
        unsampled: word(Ledger::Unsampled),
        budget_sampled: word(Ledger::BudgetSampled),
        budget_counted: word(Ledger::BudgetCounted),
        budget_stacks: word(Ledger::BudgetStacks),
        tabled: word(Ledger::Tabled),
        table_lost: word(Ledger::TableLost),
        ring_full: word(Ledger::RingFull),
        re_entered: word(Ledger::ReEntered),
        missed,
        faulted: word(Ledger::Faulted),
        stack_failed: word(Ledger::StackFailed),
        stack_definition_lost: word(Ledger::StackDefinitionLost),
        unmatched: word(Ledger::Unmatched),
        opened: word(Ledger::Opened),
        already_open: word(Ledger::AlreadyOpen),
        open_full: word(Ledger::OpenFull),
        matched: word(Ledger::Matched),
        overwritten: word(Ledger::Overwritten),
        ..Row::default()
    })
}

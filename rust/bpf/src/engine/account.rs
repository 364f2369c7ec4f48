//! One target's account. In: its ledger words and the kernel's own count of misses. Out: a [`Row`].

use spile_core::error::Error;
use spile_core::loss::Row;

use super::maps::Maps;
use super::plan::Planned;
use crate::compile::Ledger;
use crate::kernel::program::LoadedProgram;

/// The misses that don't count: those from before the gate was open and from after it was shut.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    before: Option<u64>,
    at_end: Option<u64>,
}

impl Account {
    /// The gate is about to open.
    pub(super) fn open(&mut self, program: &LoadedProgram) -> Result<(), Error> {
        self.before = Some(program.recursion_misses()?);
        Ok(())
    }

    /// The gate has just been shut.
    pub(super) fn close(&mut self, program: &LoadedProgram) -> Result<(), Error> {
        self.at_end = Some(program.recursion_misses()?);
        Ok(())
    }

    fn missed(&self, program: &LoadedProgram) -> Result<u64, Error> {
        let Some(before) = self.before else { return Ok(0) };
        let now = self.at_end.map_or_else(|| program.recursion_misses(), Ok)?;
        Ok(now.saturating_sub(before))
    }

    /// What became of every hit.
    pub(super) fn row(&self, planned: &Planned, program: &LoadedProgram, maps: &Maps) -> Result<Row, Error> {
        let words = maps.ledger_row(planned.layout.schema.id)?;
        let word = |entry: Ledger| words.get(entry as usize).copied().unwrap_or(0);
        let missed = self.missed(program)?;
        Ok(Row {
            probe: planned.probe,
            target: planned.target,
            hits: word(Ledger::Hits) + missed,
            filtered: word(Ledger::Filtered),
            delivered: word(Ledger::Delivered),
            ring_full: word(Ledger::RingFull),
            re_entered: word(Ledger::ReEntered),
            missed,
            faulted: word(Ledger::Faulted),
            stack_failed: word(Ledger::StackFailed),
            stack_definition_lost: word(Ledger::StackDefinitionLost),
            ..Row::default()
        })
    }
}

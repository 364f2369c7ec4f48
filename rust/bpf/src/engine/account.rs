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
        let words = maps.ledger_row(planned.id)?;
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
            unmatched: word(Ledger::Unmatched),
            opened: word(Ledger::Opened),
            already_open: word(Ledger::AlreadyOpen),
            open_full: word(Ledger::OpenFull),
            matched: word(Ledger::Matched),
            overwritten: word(Ledger::Overwritten),
            ..Row::default()
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd as _;

    use aya_obj::generated::{bpf_cmd, bpf_prog_info};

    use super::*;
    use crate::compile::ProgramKind;
    use crate::kernel::sys::{Syscall, fake};

    #[test]
    fn misses_count_while_the_gate_is_open() {
        // The kernel's count goes up by ten each time that it is asked for.
        let mut misses = 0;
        let kernel = move |syscall: Syscall<'_>| {
            let Syscall::Bpf { command, attr } = syscall else { panic!("only bpf(2) is called") };
            if matches!(command, bpf_cmd::BPF_OBJ_GET_INFO_BY_FD) {
                misses += 10;
                // SAFETY: the caller gave the address of a live bpf_prog_info.
                unsafe { (*(attr.info.info as *mut bpf_prog_info)).recursion_misses = misses };
                return Ok(0);
            }
            Ok(File::open("/dev/null")?.into_raw_fd().into())
        };
        fake::with(kernel, || {
            let program = LoadedProgram::load(ProgramKind::RawTracepoint, "x", &[0]).unwrap();
            let mut account = Account::default();
            assert_eq!(account.missed(&program), Ok(0), "nothing is missed before the start");
            account.open(&program).unwrap(); // 10
            assert_eq!(account.missed(&program), Ok(10)); // 20
            account.close(&program).unwrap(); // 30
            assert_eq!(
                (account.missed(&program), account.missed(&program)),
                (Ok(20), Ok(20)),
                "and none after the end"
            );
        });
    }
}

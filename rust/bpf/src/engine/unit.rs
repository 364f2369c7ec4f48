//! One program in the kernel. In: what was planned for its targets: one, or many that differ in nothing but their number.
//! Out: the program loaded, its links, and what the kernel missed of it.

use std::sync::Arc;

use spile_core::error::Error;

use super::attach::Refused;
use super::maps::Maps;
use super::place::Attachment;
use super::plan::{self, Planned};
use super::tables::UnitTables;
use crate::kernel::link::Link;
use crate::kernel::program::LoadedProgram;

/// A program, and the targets that it serves.
pub(super) struct Unit {
    pub program: Arc<LoadedProgram>,
    pub links: Vec<Link>,
    /// Indexes of what was planned; the first one's ledger row has what the kernel missed of them all.
    pub members: Vec<usize>,
    misses: Misses,
}

/// The misses that don't count: those from before the gate was open and from after it was shut.
#[derive(Debug, Clone, Copy, Default)]
struct Misses {
    before: Option<u64>,
    at_end: Option<u64>,
}

/// Which targets can share a program.
pub(super) fn group(planned: &[Planned]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, one) in planned.iter().enumerate() {
        let same = groups.iter_mut().find(|group| one.can_share(&planned[group[0]]));
        match same {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// How many descriptors their programs, tables and links take, and a ring on each CPU.
pub(super) fn descriptors(groups: &[Vec<usize>], planned: &[Planned], cpus: usize) -> usize {
    let of = |members: &Vec<usize>| {
        let first = &planned[members[0]];
        let links = if matches!(first.attachment, Attachment::Kprobe { .. }) { members.len() } else { 1 };
        1 + first.kept().count() + links * first.attachment.descriptors(cpus)
    };
    cpus + groups.iter().map(of).sum::<usize>()
}

impl Unit {
    /// Loads the program of the first member, which is that of all.
    pub(super) fn load(
        members: Vec<usize>,
        planned: &[Planned],
        maps: &Maps,
        tables: Option<&UnitTables<'_>>,
    ) -> Result<Self, Error> {
        let first = &planned[members[0]];
        let program = &first.program;
        let purpose = first.attachment.purpose();
        let loaded = LoadedProgram::load_for(program.kind, purpose, &program.name, &maps.relocated(program, tables)?)
            .map_err(|error| plan::suffixed(error, &first.suffix))?;
        Ok(Self { program: Arc::new(loaded), links: Vec::new(), members, misses: Misses::default() })
    }

    /// Attaches it to all its targets.
    pub(super) fn attach(&mut self, planned: &[Planned]) -> Result<(), Refused> {
        let places: Vec<(&Attachment, u64)> =
            self.members.iter().map(|&member| (&planned[member].attachment, planned[member].id.into())).collect();
        let suffix = &planned[self.members[0]].suffix;
        let located = |refused: Refused| Refused { error: plan::suffixed(refused.error, suffix), ..refused };
        self.links = Attachment::attach(&places, &self.program).map_err(located)?;
        Ok(())
    }

    /// The gate is about to open.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.misses.before = Some(self.count()?);
        Ok(())
    }

    /// The gate has just been shut.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.misses.at_end = Some(self.count()?);
        Ok(())
    }

    /// What the kernel missed while the gate was open.
    pub(super) fn missed(&self) -> Result<u64, Error> {
        let Some(before) = self.misses.before else { return Ok(0) };
        let now = self.misses.at_end.map_or_else(|| self.count(), Ok)?;
        Ok(now.saturating_sub(before))
    }

    fn count(&self) -> Result<u64, Error> {
        Ok(self.program.recursion_misses()? + self.links.iter().filter_map(Link::misses).sum::<u64>())
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
            let program = Arc::new(LoadedProgram::load(ProgramKind::RawTracepoint, "x", &[0]).unwrap());
            let mut unit = Unit { program, links: Vec::new(), members: vec![0], misses: Misses::default() };
            assert_eq!(unit.missed(), Ok(0), "nothing is missed before the start");
            unit.open().unwrap(); // 10
            assert_eq!(unit.missed(), Ok(10)); // 20
            unit.close().unwrap(); // 30
            assert_eq!((unit.missed(), unit.missed()), (Ok(20), Ok(20)), "and none after the end");
        });
    }
}

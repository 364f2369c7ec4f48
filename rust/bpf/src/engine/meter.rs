//! What tracing takes of the CPUs, and how programs are told to leave something out. In: loaded programs, and the map that they
//! look at. Out: a [`Meter`].
//!
//! The kernel counts the time of each program while somebody holds its statistics open (`BPF_ENABLE_STATS`): two more readings
//! of the clock for each run. What leads to a program, such as a kprobe's trap, it doesn't count. The rest is this
//! process's own time: all threads, the script's handlers among them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use spile_core::budget::{Level, Spares};
use spile_core::error::Error;
use spile_core::spec::{Expr, ProbeSpec, SessionSpec};
use spile_core::watch::Meter;

use super::plan::{Planned, exprs};
use crate::kernel::map::Map;
use crate::kernel::program::{LoadedProgram, count_run_times};
use crate::kernel::{clock, cpu};

/// The map that programs look at, and whose programs they are.
pub(super) struct KernelMeter {
    /// As long as it is open, the kernel counts.
    statistics: Option<OwnedFd>,
    programs: Vec<Arc<LoadedProgram>>,
    budget: Map,
    cpus: u32,
}

impl KernelMeter {
    /// Of these programs. Refuses where the kernel doesn't count.
    pub(super) fn new(programs: Vec<Arc<LoadedProgram>>, budget: Map) -> Result<Self, Error> {
        drop(count_run_times()?);
        let cpus = cpu::online()?.len() as u32;
        Ok(Self { statistics: None, programs, budget, cpus })
    }
}

impl Meter for KernelMeter {
    fn now(&self) -> u64 {
        clock::monotonic()
    }

    fn of_process(&self) -> u64 {
        clock::of_process()
    }

    fn count(&mut self, counts: bool) -> Result<(), Error> {
        self.statistics = counts.then(count_run_times).transpose()?;
        Ok(())
    }

    fn of_programs(&self) -> Result<u64, Error> {
        self.programs.iter().map(|program| program.run_time()).sum()
    }

    fn cpus(&self) -> u32 {
        self.cpus
    }

    fn set(&mut self, level: Level) -> Result<(), Error> {
        tell(&self.budget, level)
    }
}

/// A map of what is left out: nothing.
pub(super) fn budget() -> Result<Map, Error> {
    let map = Map::array("spile_budget", 8, 1)?;
    tell(&map, Level::All)?;
    Ok(map)
}

fn tell(map: &Map, level: Level) -> Result<(), Error> {
    // `compile/build/budget.rs` says where what is.
    let words = [level.every().to_ne_bytes(), u32::from(level.is_stackless()).to_ne_bytes()];
    map.update(&0_u32.to_ne_bytes(), words.as_flattened())
}

/// What can be left out of a session.
pub(super) fn spares(spec: &SessionSpec, planned: &[Planned]) -> Spares {
    let of = |one: &Planned| spec.probes.get(one.probe as usize);
    let has_stack = |probe: &ProbeSpec| exprs(probe).into_iter().any(is_stack);
    let sends = |one: &Planned| {
        let probe = of(one).filter(|_| one.layout.is_some());
        probe.is_some_and(|probe| probe.deliver || one.kept().count() < probe.aggregates.len())
    };
    Spares { stacks: planned.iter().filter_map(of).any(has_stack), events: planned.iter().any(sends) }
}

/// For whoever wants to read it.
pub(super) fn explained(millionths: u32, Spares { stacks, events }: Spares) -> String {
    let steps = [
        (stacks, "stacks are left empty"),
        (events, "one event of 2, 4, … 1,024 is sent"),
        (events, "no event is sent: tables in the kernel and the ledger go on"),
    ];
    let steps: Vec<&str> = steps.into_iter().filter(|(spares, _)| *spares).map(|(_, step)| step).collect();
    let steps = if steps.is_empty() { "there is nothing to leave out".into() } else { steps.join("; then ") };
    format!("tracing may take {} % of all CPUs' time; beyond it {steps}", f64::from(millionths) / 1e4)
}

fn is_stack(expr: &Expr) -> bool {
    match expr {
        Expr::Stack { .. } => true,
        Expr::AtStart { value } => is_stack(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Spares, explained};

    #[test]
    fn a_budget_says_what_it_would_leave_out() {
        let of = |stacks, events| explained(30_000, Spares { stacks, events });
        assert_eq!(of(false, false), "tracing may take 3 % of all CPUs' time; beyond it there is nothing to leave out");
        let all = of(true, true);
        assert!(
            all.contains("beyond it stacks are left empty; then one event of 2, 4, … 1,024 is sent; then no event")
        );
        assert!(!of(true, false).contains("event"));
    }
}

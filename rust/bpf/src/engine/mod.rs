//! The embedded engine: the one place where the compiler and the kernel meet.
//!
//! In: a [`SessionSpec`]. Out: sources of records, and the ledger. The order of a life:
//!
//! ```text
//! prepare (resolve, compile, make maps, load, attach) ──► start (open the gate) ──► close (shut the gate, wait for what
//! runs) ──► detach
//! ```
//!
//! Where attaching to a function fails, everything is prepared once more, by the next best means for that function: a program
//! depends on how it is attached, and so do the events that it sends.
//!
//! Each step is a file: `kernel_view` opens what the kernel says of itself, `place` resolves a target (`function`
//! those that are functions; `shortcut` makes some tracepoints cheaper), `plan` compiles, `spans` what is between two
//! probes and `calls` what is between a function's entry and its return, `transport` chooses rings, `maps` makes and names maps, `unit` loads a program and `attach` ties it to its places, `follow` keeps the tree of
//! processes, `meter` knows what tracing takes, `source` reads a ring, `account` reads the ledger.
//! Dropping the engine detaches and leaves nothing behind.

mod account;
mod attach;
mod calls;
mod fence;
mod follow;
mod function;
mod kernel_view;
mod maps;
mod meter;
mod place;
mod plan;
mod shortcut;
mod source;
mod spans;
mod tables;
mod transport;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spile_core::budget::{Budget, Spares};
use spile_core::collect::Store;
use spile_core::error::Error;
use spile_core::event::Layouts;
use spile_core::loss::{self, Row};
use spile_core::source::Source;
use spile_core::spec::{SessionSpec, verify};
use spile_core::watch::Watched;

use crate::compile::MappedRings;
use crate::kernel::link::{Link, drop_later};
use crate::kernel::privilege;
use crate::kernel::program::unlimit_locked_memory;
use crate::kernel::{cpu, descriptors};
use attach::Refused;
use follow::Follow;
use kernel_view::KernelView;
use maps::Maps;
use meter::KernelMeter;
use plan::Planned;
use tables::{Sizes, Tables};
use unit::Unit;

/// The gate's states, as programs read them.
const ACTIVE: u32 = 1;
const SHUT: u32 = 2;

/// A session's programs in the kernel.
pub struct Engine {
    /// The follower's.
    links: Vec<Link>,
    follow: Follow,
    /// Every target of every probe.
    planned: Vec<Planned>,
    units: Vec<Unit>,
    maps: Maps,
    /// CPUs that have a ring.
    cpus: u32,
    sizes: Sizes,
    /// What tracing may take, in millionths, and what can be left out.
    max_overhead: Option<u32>,
    spares: Spares,
    store: Option<Box<dyn Store>>,
    layouts: Arc<Layouts>,
    is_closed: Arc<AtomicBool>,
}

impl Engine {
    /// Resolves, compiles, loads and attaches everything, behind a gate that is shut. What is wrong with any probe is told
    /// at once, and then nothing stays attached.
    pub fn prepare(spec: &SessionSpec) -> Result<Self, Error> {
        let cpus = cpu::possible()?.last().map_or(1, |last| last + 1);
        Self::prepare_for(spec, cpus)
    }

    /// For as many CPUs, each of which has a ring.
    fn prepare_for(spec: &SessionSpec, cpus: u32) -> Result<Self, Error> {
        verify(spec)?;
        maps::check_sizes(&spec.limits)?;
        privilege::check("tracing")?;
        let kernel = KernelView::default();
        // Before 5.11 the kernel counts maps against this limit; where it can't be raised, making a map says so.
        let _ = unlimit_locked_memory();
        loop {
            let mut engine = Self::load(spec, cpus, &kernel)?;
            if engine.attach(&kernel)? {
                return Ok(engine);
            }
        }
    }

    fn load(spec: &SessionSpec, cpus: u32, kernel: &KernelView) -> Result<Self, Error> {
        let mapped = transport::mapped(spec, cpus)?;
        let rings = mapped.as_ref().map(|mapped| mapped.rings);
        let (plan, bits) = Self::plan(spec, cpus, rings, kernel)?;
        let plan::Plan { programs: planned, spans, last_id } = plan;
        let groups = unit::group(&planned);
        descriptors::make_room(unit::descriptors(&groups, &planned, cpus as usize))?;
        let follow = follow::prepare(&spec.target, kernel)?;
        let wanted = follow.iter().map(|(_, program)| program).chain(planned.iter().map(|planned| &*planned.program));
        let maps = Maps::create(spec, last_id, cpus, &spans, mapped, wanted)?;
        let layouts = planned.iter().filter_map(|planned| planned.layout.clone()).collect();
        let spills = planned.iter().flat_map(|planned| planned.kept().map(|table| table.spill_of(planned.id)));
        let layouts = Layouts::with_spills(layouts, spills.collect())?;
        let follow = Follow::load(&follow, &maps)?;
        let tables = Tables::create(&groups, &planned, bits, cpus)?;
        let units = groups.into_iter().enumerate().map(|(unit, members)| {
            let tables = tables.as_ref().map(|tables| tables.of(unit));
            Unit::load(members, &planned, &maps, tables.as_ref())
        });
        let units = units.collect::<Result<Vec<_>, Error>>()?;
        let spares = meter::spares(spec, &planned);
        let engine = Self {
            links: Vec::new(),
            follow,
            planned,
            units,
            maps,
            cpus,
            max_overhead: spec.limits.max_overhead,
            spares,
            sizes: tables.as_ref().map(Tables::sizes).unwrap_or_default(),
            store: tables.map(Tables::into_store).transpose()?,
            layouts: Arc::new(layouts),
            is_closed: Arc::default(),
        };
        if let Some(pid) = spec.target.pid {
            engine.add_pid(pid)?;
        }
        Ok(engine)
    }

    /// What the spec wants here. Aggregates whose tables would be too small are counted over the event stream.
    fn plan(
        spec: &SessionSpec,
        cpus: u32,
        rings: Option<MappedRings>,
        kernel: &KernelView,
    ) -> Result<(plan::Plan, u32), Error> {
        let plan = plan::plan(spec, cpus, rings, kernel, None)?;
        match tables::bits(&unit::group(&plan.programs), &plan.programs, spec.limits.tables, cpus) {
            Ok(bits) => Ok((plan, bits)),
            Err(reason) => Ok((plan::plan(spec, cpus, rings, kernel, Some(reason))?, 0)),
        }
    }

    /// The tables that aggregates are kept in, if there are any; once.
    pub fn store(&mut self) -> Option<Box<dyn Store>> {
        self.store.take()
    }

    /// The budget that the session has, if it has one, and what keeps to it; once, before the start.
    pub fn budget(&mut self) -> Result<Option<Watched>, Error> {
        let (Some(share), Some(map)) = (self.max_overhead, self.maps.take_budget()) else { return Ok(None) };
        let units = self.units.iter().map(|unit| &unit.program);
        let programs = self.follow.programs().chain(units).cloned().collect();
        Ok(Some((Budget::new(share, self.spares), Box::new(KernelMeter::new(programs, map)?))))
    }

    /// Attaches everything. False if functions were refused that another means may do for, which `kernel` then knows.
    fn attach(&mut self, kernel: &KernelView) -> Result<bool, Error> {
        let planned = &self.planned;
        let refused: Vec<Refused> = self.units.iter_mut().filter_map(|unit| unit.attach(planned).err()).collect();
        if refused.is_empty() {
            return Ok(true);
        }
        let mut is_new = true;
        for Refused { functions, .. } in &refused {
            is_new &= functions.iter().filter(|blamed| kernel.refuse(blamed)).count() > 0;
        }
        let errors = || Error::all(refused.into_iter().map(|refused| refused.error).collect());
        if is_new { Ok(false) } else { errors().map_or(Ok(false), Err) }
    }

    /// How its records are read.
    pub fn layouts(&self) -> Arc<Layouts> {
        Arc::clone(&self.layouts)
    }

    /// The readers of its rings, of each CPU's. There is one set of them.
    pub fn sources(&mut self) -> Result<Vec<Box<dyn Source>>, Error> {
        let (mapped, rings) = self.maps.take_rings()?;
        // Who reads an event's ring before that of its stacks' definitions has these in the same turn.
        let mut sources = mapped.map_or_else(
            || Ok(Vec::new()),
            |mapped| source::open_mapped(mapped, self.cpus, &self.layouts, &self.is_closed),
        )?;
        sources.extend(source::open(rings, &self.is_closed)?);
        Ok(sources)
    }

    /// Opens the gate: what attaching itself causes is no event.
    pub fn start(&mut self) -> Result<(), Error> {
        self.links.extend(self.follow.attach()?);
        for unit in &mut self.units {
            unit.open()?;
        }
        self.maps.set_gate(ACTIVE)
    }

    /// Shuts the gate and waits until no program writes any more. What the rings hold then is everything: their sources
    /// end once they have read it.
    pub fn close(&mut self) -> Result<(), Error> {
        self.maps.set_gate(SHUT)?;
        for unit in &mut self.units {
            unit.close()?;
        }
        self.maps.fence()?;
        self.is_closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes the programs off their places. The ledger can still be read.
    ///
    /// The kernel waits for two grace periods at each classic tracepoint (`perf_trace_event_unreg`), some 70 ms, so a
    /// thread does that; the gate is shut, and nobody else waits for it.
    pub fn detach(&mut self) {
        let mut links = std::mem::take(&mut self.links);
        self.units.iter_mut().for_each(|unit| links.append(&mut unit.links));
        drop_later(links);
    }

    /// What became of every hit so far: a row for each target.
    pub fn ledger(&self) -> Result<Vec<Row>, Error> {
        let mut missed = vec![0; self.planned.len()];
        for unit in &self.units {
            missed[unit.members[0]] = unit.missed()?;
        }
        let rows = self.planned.iter().zip(missed);
        let rows = rows.map(|(planned, missed)| account::row(planned, missed, &self.maps));
        let mut rows = rows.collect::<Result<Vec<_>, Error>>()?;
        loss::settle(&mut rows);
        Ok(rows)
    }

    /// How many starts of each span are without an end now, counted in their tables.
    pub fn open_spans(&self) -> Result<Vec<u64>, Error> {
        self.maps.count_open()
    }

    /// Children of followed processes that found no room in the filter: their events are missing.
    pub fn lost_children(&self) -> Result<u64, Error> {
        Ok(self.maps.ledger_row(0)?.first().copied().unwrap_or(0))
    }

    /// Lets one more process (and, if children are followed, those that it has from now on) through the target filter.
    pub fn add_pid(&self, pid: u32) -> Result<(), Error> {
        self.maps.add_pid(pid)
    }

    /// The processes that the target filter lets through now; none if it lets all of them through.
    pub fn followed(&self) -> Result<Vec<u32>, Error> {
        self.maps.pids()
    }

    /// Event ids and what they are called.
    pub fn names(&self) -> Vec<(u16, String)> {
        self.planned.iter().map(|planned| (planned.id, planned.name.clone())).collect()
    }

    /// The numbers of its programs in the kernel's own list, those that follow processes included.
    pub fn program_ids(&self) -> Result<Vec<u32>, Error> {
        let units = self.units.iter().map(|unit| &unit.program);
        self.follow.programs().chain(units).map(|program| program.id()).collect()
    }

    /// What was made of each target: where it is attached, what its events hold, where its aggregates are kept and why; with
    /// `code` its program too, in the intermediate form and as bytecode. Before that, what a budget would leave out.
    pub fn explain(&self, code: bool) -> String {
        let explained = |planned: &Planned| {
            let text = planned.explained(|table| self.sizes.explained(table));
            if code { text + &planned.code() } else { text }
        };
        let budget = self.max_overhead.map(|share| meter::explained(share, self.spares));
        budget.into_iter().chain(self.planned.iter().map(explained)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.detach();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod tests {
    use spile_core::merge::Merge;
    use spile_core::spec::{Attach, Capture, Limits, ProbeSpec, SPEC_VERSION, Target, TargetFilter};

    use super::*;

    pub(super) fn spec() -> SessionSpec {
        SessionSpec {
            version: SPEC_VERSION,
            target: TargetFilter { pid: Some(std::process::id()), follow: false, cgroup: None, exclude_self: false },
            limits: Limits {
                buffer: 1 << 16,
                queue: 1 << 20,
                stack_depth: 127,
                stack_cache: 64,
                transport: Default::default(),
                tables: 32 << 20,
                on_full: Default::default(),
                max_overhead: None,
            },
            probes: vec![ProbeSpec {
                name: "many".into(),
                declared_at: None,
                targets: vec![Target::RawTracepoint { name: "sys_enter".into() }],
                span: None,
                attach: Attach::Auto,
                sample: 1,
                capture: Capture::Fields { fields: Vec::new() },
                condition: None,
                aggregates: Vec::new(),
                deliver: true,
            }],
        }
    }

    /// Machines of more CPUs than this one find their rings in an array of maps.
    #[test]
    fn many_cpus_have_a_ring_each() {
        let mut engine = match Engine::prepare_for(&spec(), 40) {
            Ok(engine) => engine,
            Err(error @ Error::Privilege { .. }) => return println!("SKIPPED: {error}"),
            Err(error) => panic!("{error}"),
        };
        let sources = engine.sources().unwrap();
        assert_eq!(sources.len(), 40);
        let mut merge = Merge::new(sources, engine.layouts(), Arc::default());
        engine.start().unwrap();
        for _ in 0..500 {
            // SAFETY: getppid takes nothing and changes nothing.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        engine.close().unwrap();
        let mut count = 0;
        let mut sink = |_: &spile_core::event::Event<'_>| {
            count += 1;
            true
        };
        while !merge.turn(&mut sink, false).unwrap().ended {}
        let row = engine.ledger().unwrap()[0];
        assert!(row.delivered >= 500 && row.delivered == count && row.balance() == 0, "{row:?}, {count} events");
    }
}

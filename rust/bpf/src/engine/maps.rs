//! The maps of a session. In: sizes, and the programs that name maps. Out: maps, and programs with descriptors for names.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;

use spile_core::error::Error;
use spile_core::spec::{Limits, SessionSpec};

use super::fence::Fence;
use super::meter;
use super::tables::UnitTables;
use super::transport::Mapped;
use crate::compile::{Ledger, MapRef, Program, SCRATCH_LEVELS, SCRATCH_SIZE};
use crate::kernel::cpu;
use crate::kernel::map::Map;
use crate::kernel::sys::memory::page_size;

/// Processes that may be followed at once.
const MOST_PIDS: u32 = 1 << 15;
/// Bytes of ring for a CPU that isn't running: it may come up later.
const OFFLINE_RING: u32 = 1 << 16;

/// The mapped rings, and ring buffers with their sizes.
pub(super) type Rings<'a> = (Option<&'a Mapped>, &'a [(Map, u32)]);

/// Every map that the session's programs name.
pub(super) struct Maps {
    gate: Map,
    fence: Fence,
    ledger: Map,
    budget: Option<Map>,
    mapped: Option<Mapped>,
    rings: Vec<(Map, u32)>,
    ring_array: Option<Map>,
    scratch: Option<Map>,
    stack_cache: Option<Map>,
    pids: Option<Map>,
    open: Vec<Map>,
    cpus: usize,
    rings_are_taken: bool,
}

/// Refuses sizes that this machine can't have, before anything is made. What no machine can have is refused by then.
pub(super) fn check_sizes(limits: &Limits) -> Result<(), Error> {
    let (online, available) = (cpu::online()?.len() as u64, available_memory().unwrap_or(u64::MAX));
    check_buffer(limits.buffer, page_size() as u64, online, available)?;
    check_tables(limits.tables, available)
}

fn check_tables(tables: u64, available: u64) -> Result<(), Error> {
    if tables <= available / 2 {
        return Ok(());
    }
    let fault =
        format!("tables={tables}: that is more than half of the {available} bytes of memory that are free; take less");
    Err(Error::spec("limits.tables", fault))
}

fn check_buffer(buffer: u64, page: u64, cpus: u64, available: u64) -> Result<(), Error> {
    let fault = if buffer < page {
        format!("buffer={buffer}: this machine's pages have {page} bytes, and a ring has at least one")
    } else if buffer.saturating_mul(cpus) > available / 2 {
        format!(
            "buffer={buffer}: on {cpus} CPUs, that is more than half of the {available} bytes of memory that are free; \
             take less"
        )
    } else {
        return Ok(());
    };
    Err(Error::spec("limits.buffer", fault))
}

fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Maps {
    /// Makes what `programs` name, and what the engine itself needs.
    pub(super) fn create<'p>(
        spec: &SessionSpec,
        last_id: u32,
        cpus: u32,
        spans: &[OpenSpans],
        mapped: Option<Mapped>,
        programs: impl Iterator<Item = &'p Program>,
    ) -> Result<Self, Error> {
        let wanted: BTreeSet<MapRef> = programs.flat_map(|program| &program.relocations).map(|(_, map)| *map).collect();
        let gate = Map::array("spile_gate", 8, 1)?;
        let fence = Fence::new(&gate)?;
        let ledger = Map::per_cpu_array("spile_ledger", 8 * Ledger::ENTRIES, last_id + 1)?;
        let only_if = |map: MapRef, make: &dyn Fn() -> Result<Map, Error>| wanted.contains(&map).then(make).transpose();
        let wants_ring = wanted.iter().any(|map| matches!(map, MapRef::Ring(_) | MapRef::RingArray));
        let rings = if wants_ring { rings(spec, cpus)? } else { Vec::new() };
        let ring_array = only_if(MapRef::RingArray, &|| ring_array(&rings))?;
        Ok(Self {
            scratch: only_if(MapRef::Scratch, &|| {
                Map::per_cpu_array("spile_scratch", SCRATCH_SIZE, 1 + SCRATCH_LEVELS)
            })?,
            stack_cache: only_if(MapRef::StackCache, &|| {
                Map::per_cpu_array("spile_stacks", 8, spec.limits.stack_cache)
            })?,
            // Also where no program looks at it: a budget that can't be kept is told all the same.
            budget: spec.limits.max_overhead.map(|_| meter::budget()).transpose()?,
            pids: spec.target.pid.map(|_| Map::hash("spile_pids", 4, 4, MOST_PIDS)).transpose()?,
            open: spans.iter().map(OpenSpans::make).collect::<Result<_, _>>()?,
            cpus: cpu::possible()?.len(),
            rings_are_taken: false,
            gate,
            fence,
            ledger,
            mapped: mapped.filter(|_| wanted.contains(&MapRef::Mapped)),
            rings,
            ring_array,
        })
    }

    /// A program's code with descriptors in the place of names, those of its own tables among them.
    pub(super) fn relocated(&self, program: &Program, tables: Option<&UnitTables<'_>>) -> Result<Vec<u64>, Error> {
        let mut words: Vec<u64> = program.insns.iter().map(|insn| insn.0).collect();
        for (at, name) in &program.relocations {
            let map = tables
                .and_then(|tables| tables.named(*name))
                .or_else(|| self.named(*name))
                .ok_or_else(|| Error::engine(format!("{name:?} was not made: a bug of spile's")))?;
            words[*at] = program.insns[*at].with_imm(map.fd().as_raw_fd()).0;
        }
        if let Some(tables) = tables {
            for at in &program.buckets {
                words[*at] = program.insns[*at].with_imm(tables.shift()).0;
            }
        }
        Ok(words)
    }

    fn named(&self, name: MapRef) -> Option<&Map> {
        match name {
            MapRef::Gate => Some(&self.gate),
            MapRef::Ledger => Some(&self.ledger),
            MapRef::Budget => self.budget.as_ref(),
            MapRef::Ring(cpu) => self.rings.get(cpu as usize).map(|(map, _)| map),
            MapRef::Mapped => self.mapped.as_ref().map(|mapped| &mapped.map),
            MapRef::RingArray => self.ring_array.as_ref(),
            MapRef::Scratch => self.scratch.as_ref(),
            MapRef::StackCache => self.stack_cache.as_ref(),
            MapRef::Pids => self.pids.as_ref(),
            MapRef::Open(span) => self.open.get(usize::from(span)),
            // A program's own.
            MapRef::Generation | MapRef::Table(_) => None,
        }
    }

    /// The rings, and the sizes of ring buffers, for the readers; once.
    pub(super) fn take_rings(&mut self) -> Result<Rings<'_>, Error> {
        if std::mem::replace(&mut self.rings_are_taken, true) {
            return Err(Error::engine("the rings have readers already; this is a bug of spile's"));
        }
        Ok((self.mapped.as_ref(), &self.rings))
    }

    /// What programs look at for what to leave out, for whoever tells them; once. They have been loaded, and keep it.
    pub(super) fn take_budget(&mut self) -> Option<Map> {
        self.budget.take()
    }

    pub(super) fn set_gate(&self, state: u32) -> Result<(), Error> {
        self.gate.update(&0_u32.to_ne_bytes(), &u64::from(state).to_ne_bytes())
    }

    /// Waits until every program that is running now has ended.
    pub(super) fn fence(&self) -> Result<(), Error> {
        self.fence.wait(&self.gate)
    }

    /// How many of each span's starts are without an end.
    pub(super) fn count_open(&self) -> Result<Vec<u64>, Error> {
        self.open.iter().map(Map::count).collect()
    }

    /// A row of the ledger, summed over the CPUs.
    pub(super) fn ledger_row(&self, id: u16) -> Result<Vec<u64>, Error> {
        self.ledger.sum_per_cpu(id.into(), self.cpus)
    }

    /// The processes that the filter lets through; none where there is no such filter.
    pub(super) fn pids(&self) -> Result<Vec<u32>, Error> {
        self.pids.as_ref().map_or_else(|| Ok(Vec::new()), Map::keys)
    }

    pub(super) fn add_pid(&self, pid: u32) -> Result<(), Error> {
        match &self.pids {
            Some(pids) => pids.update(&pid.to_ne_bytes(), &1_u32.to_ne_bytes()),
            None => {
                Err(Error::engine("this session sees every process, so there is no filter to let one more through"))
            }
        }
    }
}

/// The table of one span's starts.
#[derive(Debug, Clone)]
pub(super) struct OpenSpans {
    /// Bytes of an entry.
    pub value_size: u32,
    /// How many there are at once.
    pub max_open: u32,
    /// Where the spec says so.
    pub place: String,
}

impl OpenSpans {
    fn make(&self) -> Result<Map, Error> {
        self.check(available_memory().unwrap_or(u64::MAX))?;
        Map::hash("spile_open", 8, self.value_size, self.max_open)
    }

    fn check(&self, available: u64) -> Result<(), Error> {
        let Self { value_size, max_open, place } = self;
        // Beside the value there are the key and what the kernel keeps of an entry itself.
        if u64::from(*max_open) * (u64::from(*value_size) + 64) <= available / 2 {
            return Ok(());
        }
        let fault = format!(
            "max_open={max_open}: with {value_size} bytes each, that is more than half of the {available} bytes of memory \
             that are free; take less, or lower the limit= of strings at the start"
        );
        Err(Error::spec(format!("{place}.span.max_open"), fault))
    }
}

/// A ring for each CPU that may ever run.
fn rings(spec: &SessionSpec, cpus: u32) -> Result<Vec<(Map, u32)>, Error> {
    let online: BTreeSet<u32> = cpu::online()?.into_iter().collect();
    let buffer = u32::try_from(spec.limits.buffer).map_err(|_| Error::engine("a ring of an absurd size"))?;
    let make = |cpu: u32| {
        let bytes = if online.contains(&cpu) { buffer } else { buffer.min(OFFLINE_RING) };
        Ok((Map::ring(&format!("spile_ring{cpu}"), bytes)?, bytes))
    };
    (0..cpus).map(make).collect()
}

/// The rings by CPU. Each entry costs a grace period, so they are written at the same time and share it.
fn ring_array(rings: &[(Map, u32)]) -> Result<Map, Error> {
    let entries = u32::try_from(rings.len()).map_err(|_| Error::engine("an absurd number of CPUs"))?;
    // The kernel wants an array's maps to be as large as its example only where they are arrays themselves.
    let array = Map::array_of_maps("spile_rings", &rings[0].0, entries)?;
    std::thread::scope(|scope| {
        let write = |(cpu, ring): (u32, &Map)| array.update(&cpu.to_ne_bytes(), &ring.fd().as_raw_fd().to_ne_bytes());
        let threads: Vec<_> =
            (0..entries).zip(rings).map(|(cpu, (ring, _))| scope.spawn(move || write((cpu, ring)))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::engine("writing the array of rings panicked")))
        })
    })?;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::{OpenSpans, check_buffer};

    #[test]
    fn open_spans_fit_the_memory() {
        let spans = |max_open| OpenSpans { value_size: 4160, max_open, place: "probes[2]".into() };
        assert!(spans(65_536).check(1 << 30).is_ok());
        let error = spans(1 << 20).check(1 << 30).map_or_else(|error| error.to_string(), |()| String::new());
        assert!(error.contains("max_open=1048576: with 4160 bytes each"), "{error}");
        assert!(error.ends_with("(at probes[2].span.max_open)"), "{error}");
    }

    #[test]
    fn a_buffer_fits_the_machine() {
        assert!(check_buffer(8 << 20, 4096, 2, 1 << 30).is_ok());
        for (buffer, page, cpus, available, words) in [
            (4096, 1 << 16, 2, 1 << 30, "pages have 65536 bytes"),
            (1 << 28, 4096, 4, 1 << 30, "more than half"),
            (1 << 30, 4096, u64::MAX, u64::MAX, "more than half"),
        ] {
            let error =
                check_buffer(buffer, page, cpus, available).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(error.contains(words) && error.ends_with("(at limits.buffer)"), "{error}");
        }
    }
}

//! The tables of aggregates. In: what programs keep, and the memory for it. Out: maps, and a [`Store`] that empties them.
//!
//! Every program has tables of its own ([`TableLayout`]), all of one number of slots. Programs write to one generation of
//! parts. To empty them, the word that every program reads once a run is turned to the other generation, a fence waits until no
//! run is left that read it before, and the rows are taken out of the mapped memory: no system call for a key.

use std::sync::atomic::{AtomicU64, Ordering};

use spile_core::collect::{Rows, Store};
use spile_core::error::Error;

use super::fence::Fence;
use super::plan::Planned;
use crate::compile::{FAULTED, HEADER, MapRef, TableLayout, USED};
use crate::kernel::map::Map;
use crate::kernel::shared::SharedArray;

/// The least number of slots that is worth it, as a power of two.
const LEAST_BITS: u32 = 3;
/// The greatest, below the 512 MB that programs can address from one pointer.
const MOST_BITS: u32 = 21;
/// Words of rows that are handed over at once.
const BATCH: usize = 1 << 16;

/// How large tables are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes {
    bits: u32,
    cpus: u32,
}

/// One table in the kernel.
struct KernelTable {
    /// The probe and the aggregate.
    of: (usize, usize),
    layout: TableLayout,
    array: SharedArray,
}

/// Every table of a session's.
pub(super) struct Tables {
    /// Where the parts begin that are written to.
    generation: Map,
    /// By the programs.
    units: Vec<Vec<KernelTable>>,
    sizes: Sizes,
}

/// The tables of one program.
pub(super) struct UnitTables<'a> {
    generation: &'a Map,
    tables: &'a [KernelTable],
    bits: u32,
}

/// How many bits number the slots, so that all tables together fit; or why they don't.
pub(super) fn bits(groups: &[Vec<usize>], planned: &[Planned], memory: u64, cpus: u32) -> Result<u32, String> {
    let tables = || groups.iter().flat_map(|members| planned[members[0]].kept());
    let sizes = |bits| Sizes { bits, cpus };
    let needed = |bits: u32| tables().map(|table| sizes(bits).bytes(table)).sum::<u64>();
    match (LEAST_BITS..=MOST_BITS).rev().find(|bits| needed(*bits) <= memory) {
        Some(bits) => Ok(bits),
        None if memory == 0 => Err("tables=0 keeps nothing in the kernel".into()),
        None => Err(format!(
            "the session's {} tables take at least {} bytes on {cpus} CPUs: raise tables={memory}",
            tables().count(),
            needed(LEAST_BITS)
        )),
    }
}

impl Sizes {
    /// Bytes of a table: two generations on each CPU.
    fn bytes(self, table: &TableLayout) -> u64 {
        2 * u64::from(self.cpus) * table.part_size(self.bits)
    }

    /// For whoever wants to know.
    pub(super) fn explained(self, table: &TableLayout) -> String {
        let slots = if table.is_cell() { 1 } else { 1_u64 << self.bits };
        let Self { cpus, .. } = self;
        let (size, bytes) = (table.slot_size(), self.bytes(table));
        format!("2 x {slots} slots of {size} bytes on each of {cpus} CPUs, {bytes} bytes together")
    }
}

impl Tables {
    /// Makes them, of 2^`bits` slots or fewer: some kernels have a limit of their own. None if no program keeps anything.
    pub(super) fn create(
        groups: &[Vec<usize>],
        planned: &[Planned],
        bits: u32,
        cpus: u32,
    ) -> Result<Option<Self>, Error> {
        if groups.iter().all(|members| planned[members[0]].kept().next().is_none()) {
            return Ok(None);
        }
        let generation = Map::array("spile_generation", 8, 1)?;
        for bits in (1..=bits).rev() {
            let sizes = Sizes { bits, cpus };
            let units = groups.iter().map(|members| unit(&planned[members[0]], sizes));
            if let Some(units) = units.collect::<Result<Option<_>, Error>>()? {
                return Ok(Some(Self { generation, units, sizes }));
            }
        }
        Err(Error::engine("the kernel takes no tables of any size"))
    }

    /// How large they are.
    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Those of a program.
    pub(super) fn of(&self, unit: usize) -> UnitTables<'_> {
        UnitTables { generation: &self.generation, tables: &self.units[unit], bits: self.sizes.bits }
    }

    /// Whoever empties them. The programs have been loaded, so that they keep the maps themselves.
    pub(super) fn into_store(self) -> Result<Box<dyn Store>, Error> {
        let Self { generation, units, sizes } = self;
        let fence = Fence::new(&generation)?;
        let tables = units.into_iter().flatten().collect();
        Ok(Box::new(KernelStore { generation, fence, tables, sizes, current: 0, rows: Vec::new() }))
    }
}

fn unit(planned: &Planned, sizes: Sizes) -> Result<Option<Vec<KernelTable>>, Error> {
    let table = |layout: &TableLayout| {
        let absurd = |_| Error::engine("a table of an absurd size");
        let size = u32::try_from(layout.part_size(sizes.bits)).map_err(absurd)?;
        let array = SharedArray::create("spile_table", size, 2 * sizes.cpus)?;
        let of = (planned.probe as usize, layout.aggregate);
        Ok(array.map(|array| KernelTable { of, layout: layout.clone(), array }))
    };
    planned.kept().map(table).collect()
}

impl UnitTables<'_> {
    /// A map of the program's own.
    pub(super) fn named(&self, name: MapRef) -> Option<&Map> {
        match name {
            MapRef::Generation => Some(self.generation),
            MapRef::Table(aggregate) => {
                let table = self.tables.iter().find(|table| table.layout.aggregate == usize::from(aggregate));
                table.map(|table| table.array.map())
            }
            _ => None,
        }
    }

    /// By how many bits a hash is shifted to be the number of a slot.
    pub(super) fn shift(&self) -> i32 {
        64 - self.bits.cast_signed()
    }
}

struct KernelStore {
    generation: Map,
    fence: Fence,
    tables: Vec<KernelTable>,
    sizes: Sizes,
    /// Which generation is written to: 0 or 1.
    current: u32,
    /// Memory, for rows.
    rows: Vec<u64>,
}

impl KernelStore {
    /// The parts of a generation.
    fn parts(&self, generation: u32) -> impl Iterator<Item = (&KernelTable, &[AtomicU64])> {
        let Sizes { cpus, .. } = self.sizes;
        let parts = move |table| (generation * cpus..(generation + 1) * cpus).map(move |part| (table, part));
        self.tables.iter().flat_map(parts).map(|(table, part)| (table, table.array.part(part as usize)))
    }

    fn is_untouched(&self, generation: u32) -> bool {
        self.parts(generation).all(|(_, part)| header(part, USED) == 0 && header(part, FAULTED) == 0)
    }

    fn empty(&mut self, generation: u32, each: &mut dyn FnMut(Rows<'_>)) {
        let mut rows = std::mem::take(&mut self.rows);
        for (table, part) in self.parts(generation) {
            table.empty(part, &mut rows, each);
        }
        self.rows = rows;
    }
}

impl Store for KernelStore {
    fn is_pressed(&self) -> bool {
        let half = 1_u64 << (self.sizes.bits - 1);
        self.parts(self.current).any(|(_, part)| header(part, USED) > half)
    }

    fn collect(&mut self, each: &mut dyn FnMut(Rows<'_>)) -> Result<(), Error> {
        let old = self.current;
        if self.is_untouched(old) {
            return Ok(());
        }
        let first = (1 - old) * self.sizes.cpus;
        self.generation.update(&0_u32.to_ne_bytes(), &u64::from(first).to_ne_bytes())?;
        self.current = 1 - old;
        self.fence.wait(&self.generation)?;
        self.empty(old, each);
        Ok(())
    }

    fn collect_last(&mut self, each: &mut dyn FnMut(Rows<'_>)) -> Result<(), Error> {
        self.empty(0, each);
        self.empty(1, each);
        Ok(())
    }
}

impl KernelTable {
    /// Hands over what a part has, and clears it. No program writes to it.
    fn empty(&self, part: &[AtomicU64], rows: &mut Vec<u64>, each: &mut dyn FnMut(Rows<'_>)) {
        let (mut used, mut faulted) = (header(part, USED), header(part, FAULTED));
        let mut hand_over = |rows: &mut Vec<u64>| {
            if !rows.is_empty() || faulted > 0 {
                each(Rows { of: self.of, layout: &self.layout.row, words: rows, faulted });
                faulted = 0;
                rows.clear();
            }
        };
        let (first, slot) = (HEADER as usize / 8, self.layout.slot_size() as usize / 8);
        let (header, slots) = part.split_at(first.min(part.len()));
        for slot in slots.chunks_exact(slot) {
            // What is used is known, so that the rest is not looked at.
            if used == 0 {
                break;
            }
            if slot[0].load(Ordering::Relaxed) == 0 {
                continue;
            }
            used -= 1;
            rows.extend(slot[1..].iter().map(|word| word.load(Ordering::Relaxed)));
            slot.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            if rows.len() >= BATCH {
                hand_over(rows);
            }
        }
        hand_over(rows);
        header.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

fn header(part: &[AtomicU64], offset: u32) -> u64 {
    part.get(offset as usize / 8).map_or(0, |word| word.load(Ordering::Relaxed))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::AtomicBool;

    use spile_core::spec::{
        AggregateFunction, AggregateSpec, CompareOperator, Condition, Context, Expr, Limits, PathStep, SessionSpec,
    };

    use super::super::Engine;
    use super::*;

    const CALLS: u64 = 400_000;
    const ROUNDS: u32 = 40;

    /// Counts this thread's calls in the kernel, while `drain` is called on another CPU over and over; gives what came out.
    fn counted(mut drain: impl FnMut(&mut dyn Store, &mut dyn FnMut(Rows<'_>)) + Send) -> Option<u64> {
        let mut engine = match Engine::prepare(&spec()) {
            Ok(engine) => engine,
            Err(error @ Error::Privilege { .. }) => {
                println!("SKIPPED: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let mut store = engine.store().unwrap();
        engine.start().unwrap();
        let (mut sum, stop) = (0, AtomicBool::new(false));
        let mut each = |rows: Rows<'_>| {
            sum += rows.words.chunks_exact(rows.layout.width).map(|row| row[rows.layout.kept_at]).sum::<u64>();
        };
        std::thread::scope(|scope| {
            let (store, each, stop) = (&mut store, &mut each, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    drain(store.as_mut(), each);
                }
            });
            for _ in 0..CALLS {
                // SAFETY: getppid takes nothing and changes nothing.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }
            stop.store(true, Ordering::Relaxed);
        });
        engine.close().unwrap();
        store.collect_last(&mut each).unwrap();
        let row = engine.ledger().unwrap()[0];
        assert_eq!((row.tabled, row.balance()), (CALLS, 0), "{row:?}");
        Some(sum)
    }

    fn spec() -> SessionSpec {
        let mut spec = super::super::tests::spec();
        spec.limits = Limits { tables: 1 << 16, ..spec.limits };
        let probe = &mut spec.probes[0];
        probe.deliver = false;
        // SAFETY: gettid reads nothing of ours.
        let thread = unsafe { libc::gettid() };
        let is = |left: Expr, value: i64| Condition::Compare {
            operator: CompareOperator::Equal,
            left,
            right: Expr::Int { value: value.into() },
        };
        let id = Expr::Field { path: vec![PathStep::Name("id".into())] };
        let mine = is(Expr::Context { name: Context::Tid }, thread.into());
        probe.condition = Some(Condition::And { terms: vec![is(id, libc::SYS_getppid), mine] });
        let by = vec![Expr::Context { name: Context::Tid }];
        probe.aggregates.push(AggregateSpec { function: AggregateFunction::Count, value: None, by });
        spec
    }

    #[test]
    fn emptying_loses_nothing() {
        let Some(sum) = counted(|store, each| store.collect(each).unwrap()) else { return };
        assert_eq!(sum, CALLS);
    }

    /// Reading and clearing what programs write to, as it is often done, loses counts or counts twice: the test above
    /// would see it.
    #[test]
    fn without_generations_counts_would_be_lost() {
        let naive = || counted(|store, each| store.collect_last(each).unwrap());
        let Some(first) = naive() else { return };
        // Where both threads share a CPU, nothing happens at once.
        let is_wrong = first != CALLS || (1..ROUNDS).any(|_| naive() != Some(CALLS));
        assert!(is_wrong, "a naive drain was exact {ROUNDS} times by chance");
    }
}

//! What a framed stream tells of itself, and what became of it. In: the script's own numbers, and the sources'. Out: rows
//! of the ledger, and the stream's [`Numbers`]. Shared by all sources of a session.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::control::{Control, Counted, Paired, TableId};
use crate::event::Layouts;
use crate::layout::EventLayout;
use crate::loss::{self, Row};

/// A session's account.
#[derive(Debug, Default)]
pub struct Account {
    state: Mutex<State>,
    is_closing: AtomicBool,
}

/// What came, and what didn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Bytes read, those skipped included.
    pub bytes: u64,
    /// Frames that held.
    pub frames: u64,
    /// Places where something that was no frame stood, or something was missing.
    pub gaps: u64,
    /// Bytes that were no part of a frame.
    pub skipped: u64,
    /// Places that looked like a frame's beginning, and were none.
    pub corrupt: u64,
    /// Bulk mode: prints that the script numbered and that no file has.
    pub missing: u64,
    /// Rows of tables that the script wrote and that did not arrive.
    pub rows_missing: u64,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) numbers: Numbers,
    /// By event id: the script's latest numbers, and the events decoded.
    counted: Vec<Option<Counted>>,
    decoded: Vec<u64>,
    /// How often the script told them.
    told: Vec<u64>,
    tables: BTreeMap<(u8, u8), Tally>,
    /// By a span's probe and target.
    spans: BTreeMap<(u32, u32), Paired>,
    is_ready: bool,
    has_ended: bool,
    /// Behind the latest event of all sources.
    pub(super) latest: u64,
    /// Bulk mode: prints seen, and the highest number.
    prints: u64,
    highest: u64,
}

/// Rows of a table: what the script wrote, and what arrived.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rows_written: u64,
    sum_written: u64,
    rows: u64,
    sum: u64,
}

impl Tally {
    fn lost(self) -> u64 {
        self.sum_written.saturating_sub(self.sum)
    }
}

impl State {
    /// An event was decoded.
    #[inline]
    pub(super) fn count(&mut self, id: u8) {
        match self.decoded.get_mut(usize::from(id)) {
            Some(count) => *count += 1,
            None => {
                self.decoded.resize(usize::from(id) + 1, 0);
                self.decoded[usize::from(id)] = 1;
            }
        }
    }

    /// The script said something. True: all that it can say makes sense.
    pub(super) fn hear(&mut self, control: Control<'_>) -> bool {
        match control {
            Control::Ready => self.is_ready = true,
            Control::End => self.has_ended = true,
            Control::Ledger(id, counted) => {
                let id = usize::from(id);
                self.counted.resize(self.counted.len().max(id + 1), None);
                self.counted[id] = Some(self.counted[id].unwrap_or_default().later(counted));
                self.told.resize(self.counted.len(), 0);
                self.told[id] += 1;
            }
            Control::Dump { table, rows, sum } => {
                let tally = self.table(table);
                tally.rows_written = tally.rows_written.wrapping_add(rows);
                tally.sum_written = tally.sum_written.wrapping_add(sum);
            }
            Control::Span([probe, target], paired) => {
                let known = self.spans.entry((probe.into(), target.into())).or_default();
                *known = known.later(paired);
            }
            Control::Tally(_) => return false,
        }
        true
    }

    /// A table's row was decoded.
    pub(super) fn add(&mut self, table: TableId, count: u64) {
        let tally = self.table(table);
        tally.rows += 1;
        tally.sum = tally.sum.wrapping_add(count);
    }

    /// Bulk mode: prints were seen, and this is the highest number of them.
    pub(super) fn print(&mut self, prints: u64, highest: u32) {
        self.prints += prints;
        self.highest = self.highest.max(u64::from(highest));
    }

    fn told(&self, layout: &EventLayout) -> Told {
        let (schema, id) = (&layout.schema, usize::from(layout.schema.id));
        let decoded = self.decoded.get(id).copied().unwrap_or_default();
        let counted = self.counted.get(id).copied().flatten().unwrap_or_default();
        Told::new(schema.probe, schema.target, counted, decoded)
    }

    /// Counts of a probe's tables that did not arrive, of all that they held at least `kept`.
    fn lost(&self, probe: u32, kept: u64) -> u64 {
        let tables = self.tables.iter().filter(|&(&(of, _), _)| u32::from(of) == probe);
        // The tables of a probe count the same hits.
        tables.map(|(_, tally)| tally.lost().max(kept.saturating_sub(tally.sum))).max().unwrap_or(kept)
    }

    fn table(&mut self, TableId { probe, aggregate }: TableId) -> &mut Tally {
        self.tables.entry((probe, aggregate)).or_default()
    }
}

impl Account {
    /// One change of the state at a time: a panic elsewhere does no harm.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came, and what didn't.
    pub fn numbers(&self) -> Numbers {
        let state = self.lock();
        let missing = state.highest.saturating_sub(state.prints);
        let rows_missing = state.tables.values().map(|tally| tally.rows_written.saturating_sub(tally.rows)).sum();
        Numbers { missing, rows_missing, ..state.numbers }
    }

    /// Whether the script said that all its probes are attached.
    pub fn is_ready(&self) -> bool {
        self.lock().is_ready
    }

    /// Whether the script said that it has come to its end. A stream without that was cut short.
    pub fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// How often the script has told the numbers of all its events.
    pub fn tellings(&self) -> u64 {
        self.lock().told.iter().copied().filter(|&times| times > 0).min().unwrap_or_default()
    }

    /// Whether nobody wants more than what has been written by now.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Nobody wants more than what has been written by now.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// The ledger: a row for each event, and for each target of a span that makes none.
    pub fn rows(&self, layouts: &Layouts) -> Vec<Row> {
        let state = self.lock();
        let told: Vec<Told> = layouts.iter().map(|layout| state.told(layout)).collect();
        // Its end did not come: what it held then never will.
        let is_cut = self.is_closing() && !state.has_ended;
        let mut lost: BTreeMap<u32, u64> = BTreeMap::new();
        for each in &told {
            lost.entry(each.probe).or_insert_with(|| {
                let kept = told.iter().filter(|other| is_cut && other.probe == each.probe).map(|other| other.in_tables);
                state.lost(each.probe, kept.sum())
            });
        }
        let mut rows: Vec<Row> = told.iter().map(|told| told.row(lost.entry(told.probe).or_default())).collect();
        for (&(probe, target), &paired) in &state.spans {
            let at = rows.iter().position(|row| (row.probe, row.target) == (probe, target)).unwrap_or(rows.len());
            if at == rows.len() {
                rows.push(Row { probe, target, ..Row::default() });
            }
            pair(&mut rows[at], paired);
        }
        loss::settle(&mut rows);
        rows
    }
}

/// Enters the numbers of a span's target. The hits that its row has already are ends that found their start.
fn pair(row: &mut Row, paired: Paired) {
    let Paired { unmatched, opened, already_open, open_full, overwritten, filtered, faulted } = paired;
    row.matched = row.hits;
    let more = [unmatched, opened, already_open, open_full, filtered, faulted];
    row.hits = more.into_iter().fold(row.hits, u64::saturating_add);
    (row.unmatched, row.opened, row.already_open) = (unmatched, opened, already_open);
    (row.open_full, row.overwritten) = (open_full, overwritten);
    row.filtered = row.filtered.saturating_add(filtered);
    row.faulted = row.faulted.saturating_add(faulted);
}

/// What is known of an event's hits.
struct Told {
    probe: u32,
    target: u32,
    counted: Counted,
    decoded: u64,
    /// Those that the script wrote as events.
    printed: u64,
    hits: u64,
    /// Those that were neither printed nor kept out: in the script's tables, or rows of theirs.
    in_tables: u64,
}

impl Told {
    fn new(probe: u32, target: u32, counted: Counted, decoded: u64) -> Self {
        // The script's numbers come now and then: what came since then is known all the same.
        let printed = counted.delivered.max(decoded);
        let hits = counted.hits.saturating_add(printed - counted.delivered);
        let known =
            [counted.filtered, printed, counted.faulted, counted.others].into_iter().fold(0, u64::saturating_add);
        let (hits, in_tables) = (hits.max(known), hits.saturating_sub(known));
        Self { probe, target, counted, decoded, printed, hits, in_tables }
    }

    /// `lost` are counts of the probe's tables that did not arrive and that no row has.
    fn row(&self, lost: &mut u64) -> Row {
        let &Self { probe, target, counted, decoded, printed, hits, in_tables } = self;
        let in_transit = in_tables.min(*lost);
        *lost -= in_transit;
        Row {
            probe,
            target,
            hits,
            filtered: counted.filtered,
            delivered: decoded + (in_tables - in_transit),
            transport_lost: (printed - decoded) + in_transit,
            re_entered: counted.others,
            faulted: counted.faulted,
            ..Row::default()
        }
    }
}

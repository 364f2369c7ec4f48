//! One turn of the road of an event: sources, merge, then tables and queue. No thread lives here; see [`crate::drain`].

use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::tallied::Tallied;
use crate::aggregate::{Table, TableGuard};
use crate::batch::BatchBuilder;
use crate::error::Error;
use crate::event::{Column, Event, Layouts, Spill, Value};
use crate::layout::{EventLayout, EventSchema};
use crate::merge::{Merge, Turn};
use crate::queue::Queue;
use crate::recording::Recorder;
use crate::sample::Sampler;
use crate::sink::Sink;
use crate::source::Source;
use crate::source::rows::Rows;
use crate::spec::{AggregateFunction, OnFull, SessionSpec};
use crate::stack::StackTable;
use crate::words::{Words, words};

/// What to do with an event.
#[derive(Debug, Default, Clone)]
struct Plan {
    deliver: bool,
    additions: Vec<Addition>,
    /// Of a script's table, what a row stands for.
    row: Option<Weight>,
}

/// What a row of a script's table stands for.
#[derive(Debug, Clone)]
enum Weight {
    /// So many hits of its key and value.
    Hits(Column),
    /// What was kept of hits.
    Kept(Tallied),
}

/// A table, and where the parts of its keys are and the value that it accumulates, which comes behind them.
#[derive(Debug, Clone)]
struct Addition {
    table: usize,
    /// In an event.
    columns: Box<[Option<Column>]>,
    /// In a row.
    row: Box<[Words]>,
}

impl Weight {
    /// Of rows of this layout, whose last column is their number of hits.
    fn new(function: AggregateFunction, layout: &EventLayout) -> Option<Self> {
        let schema = &layout.schema;
        match Tallied::new(function, layout, schema.keys.first()?.len()) {
            Some(tallied) => Some(Self::Kept(tallied)),
            None => Some(Self::Hits(Column::new(layout, schema.fields.len().checked_sub(1)?)?)),
        }
    }
}

impl Addition {
    /// Of a layout's columns, of which rows have those that are wanted.
    fn new(table: usize, layout: &EventLayout, columns: &[u32], wanted: &[u32]) -> Self {
        let row = columns.iter().filter_map(|column| in_row(layout, wanted, *column)).collect();
        let columns = columns.iter().map(|&column| Column::new(layout, column as usize)).collect();
        Self { table, columns, row }
    }
}

/// What a session's events end in, shared with the script.
#[derive(Debug)]
pub struct Outlets {
    /// Events for the script.
    pub queue: Queue,
    /// The tables, by probe and aggregate.
    pub tables: Vec<Vec<Arc<Table>>>,
    /// Every stack seen.
    pub stacks: Arc<StackTable>,
    /// How events are read.
    pub layouts: Arc<Layouts>,
}

impl Outlets {
    /// As a spec wants them.
    pub fn new(spec: &SessionSpec, layouts: Arc<Layouts>) -> Self {
        Self::with_queue(Queue::new(queue_limit(spec), spec.limits.on_full), spec, layouts)
    }

    /// With a queue that drops nothing, for sources that can wait.
    pub fn lossless(spec: &SessionSpec, layouts: Arc<Layouts>) -> Self {
        Self::with_queue(Queue::new(queue_limit(spec), OnFull::Block), spec, layouts)
    }

    fn with_queue(queue: Queue, spec: &SessionSpec, layouts: Arc<Layouts>) -> Self {
        let of_probe = |probe: &crate::spec::ProbeSpec| {
            probe.aggregates.iter().map(|aggregate| Arc::new(Table::of(aggregate))).collect()
        };
        Self { queue, tables: spec.probes.iter().map(of_probe).collect(), stacks: Arc::default(), layouts }
    }
}

/// Moves events from sources to outlets.
pub struct Pump {
    merge: Merge,
    outlets: Arc<Outlets>,
    plans: Vec<Plan>,
    tables: Vec<Arc<Table>>,
    builder: BatchBuilder,
    /// For a queue whose filling means fewer events.
    sampler: Option<Sampler>,
    replays: bool,
}

/// What a pump does beside moving events.
#[derive(Default)]
pub struct Extras {
    /// What records them.
    pub recorder: Option<Recorder>,
    /// The probes, by index, whose events nobody reads here: they are recorded only.
    pub unread: Vec<u32>,
    /// The sources are a recording: nothing is urgent, and nothing may be dropped.
    pub replays: bool,
}

impl Pump {
    /// Between these.
    pub fn new(spec: &SessionSpec, sources: Vec<Box<dyn Source>>, outlets: Arc<Outlets>) -> Self {
        Self::with(spec, sources, outlets, Extras::default())
    }

    /// Between these, with more.
    pub fn with(spec: &SessionSpec, sources: Vec<Box<dyn Source>>, outlets: Arc<Outlets>, extras: Extras) -> Self {
        let Extras { recorder, unread, replays } = extras;
        let (layouts, stacks) = (Arc::clone(&outlets.layouts), Arc::clone(&outlets.stacks));
        let mut tables = Vec::new();
        let mut first_of_probe = Vec::new();
        for of_probe in &outlets.tables {
            first_of_probe.push(tables.len());
            tables.extend(of_probe.iter().cloned());
        }
        let mut plans = vec![Plan::default(); layouts.len()];
        let mut merge = Merge::new(sources, Arc::clone(&layouts), Arc::clone(&stacks));
        let is_recorded = recorder.is_some();
        if let Some(recorder) = recorder {
            merge.record(recorder);
        }
        for layout in layouts.iter() {
            let schema = &layout.schema;
            let Some(probe) = spec.probes.get(schema.probe as usize) else { continue };
            let first = first_of_probe.get(schema.probe as usize).copied().unwrap_or_default();
            let columns: Vec<(usize, Vec<u32>)> = (0..probe.aggregates.len())
                .filter(|index| !layouts.is_kept(schema.id, *index))
                .map_while(|index| Some((index, schema.columns(index)?)))
                .collect();
            let wanted = wanted(columns.iter().map(|(_, columns)| columns));
            let addition =
                |(index, columns): &(usize, Vec<u32>)| Addition::new(first + index, layout, columns, &wanted);
            let additions: Vec<Addition> = columns.iter().map(addition).collect();
            let deliver = probe.deliver && !unread.contains(&schema.probe);
            if is_recorded && !deliver && additions.is_empty() {
                merge.leave_out(schema.id);
            } else if !deliver {
                merge.project(schema.id, &wanted);
            }
            plans[usize::from(schema.id)] = Plan { deliver, additions, row: None };
        }
        for Spill { aggregate, layout, .. } in layouts.spills() {
            let EventSchema { id, probe, .. } = &layout.schema;
            let (Some(first), Some(columns)) = (first_of_probe.get(*probe as usize), layout.schema.columns(0)) else {
                continue;
            };
            let wanted = wanted([&columns].into_iter());
            let additions = vec![Addition::new(first + aggregate, layout, &columns, &wanted)];
            plans[usize::from(*id)] = Plan { deliver: false, additions, row: None };
            merge.project(*id, &wanted);
        }
        for layout in layouts.tallies() {
            let EventSchema { id, probe, target, .. } = &layout.schema;
            let table = first_of_probe.get(*probe as usize).map(|first| first + *target as usize);
            let addition = |(table, columns): (usize, Vec<u32>)| Addition::new(table, layout, &columns, &[]);
            let additions = table.into_iter().zip(layout.schema.columns(0)).map(addition).collect();
            let aggregate = spec.probes.get(*probe as usize).and_then(|probe| probe.aggregates.get(*target as usize));
            let row = aggregate.and_then(|aggregate| Weight::new(aggregate.function, layout));
            plans[usize::from(*id)] = Plan { deliver: false, additions, row };
        }
        let builder = BatchBuilder::new(Arc::clone(&layouts), Arc::clone(&stacks));
        let samples = spec.limits.on_full == OnFull::Sample && !replays;
        let sampler = samples.then(|| Sampler::new(layouts.len()));
        Self { merge, outlets, plans, tables, builder, replays, sampler }
    }

    /// Reads what there is and lets go of what is certain to be complete; with `flush`, of everything.
    pub fn turn(&mut self, flush: bool) -> Result<Turn, Error> {
        let tables = self.tables.iter().map(|table| table.lock()).collect();
        let queue = &self.outlets.queue;
        let mut end =
            End { plans: &self.plans, tables, builder: &mut self.builder, queue, sampler: self.sampler.as_mut() };
        end.fit();
        let turn = self.merge.turn(&mut end, flush);
        drop(end);
        // A recording's turns may be small, and nobody waits for one of them.
        let is_due = !self.replays || flush || turn.as_ref().map_or(true, |turn| turn.ended);
        if is_due && let Some(batch) = self.builder.finish() {
            queue.push(batch);
        }
        if let Some(left_out) = self.sampler.as_mut().and_then(Sampler::take) {
            queue.leave_out(&left_out);
        }
        // Only now: tables can be read while it waits for the disk.
        let recorded = self.merge.flush_recording();
        turn.and_then(|turn| recorded.map(|()| turn))
    }

    /// From now on nobody may be reading: a full queue holds nothing up any more. A recording's events stay all the same.
    pub fn unblock(&self) {
        if !self.replays {
            self.outlets.queue.unblock();
        }
    }

    /// Waits for more, outside of a turn, so that tables can be read meanwhile. False: it didn't wait.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        self.merge.wait(at_most)
    }

    /// Every event with an earlier time is in the tables and the queue.
    pub fn watermark(&self) -> u64 {
        self.merge.watermark()
    }

    /// Events delivered after later ones, by event id.
    pub fn late(&self) -> &[u64] {
        self.merge.late()
    }

    /// Where it moves events to.
    pub fn outlets(&self) -> &Arc<Outlets> {
        &self.outlets
    }
}

fn queue_limit(spec: &SessionSpec) -> usize {
    usize::try_from(spec.limits.queue).unwrap_or(usize::MAX)
}

/// The columns of all keys and values, each once.
fn wanted<'a>(columns: impl Iterator<Item = &'a Vec<u32>>) -> Vec<u32> {
    let mut wanted: Vec<u32> = columns.flatten().copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Where a column is in rows of these; none where rows can't have them.
fn in_row(layout: &EventLayout, wanted: &[u32], column: u32) -> Option<Words> {
    let ty = |column: u32| layout.schema.fields.get(column as usize).map(|field| field.ty);
    let before = wanted.get(..wanted.binary_search(&column).ok()?)?;
    let at = before.iter().map(|column| words(ty(*column)?)).sum::<Option<usize>>()?;
    Words::new(ty(column)?, at)
}

struct End<'a> {
    plans: &'a [Plan],
    tables: Vec<TableGuard<'a>>,
    builder: &'a mut BatchBuilder,
    queue: &'a Queue,
    sampler: Option<&'a mut Sampler>,
}

impl End<'_> {
    /// Lets the sampler, if there is one, see how full the queue is.
    fn fit(&mut self) {
        if let Some(sampler) = &mut self.sampler {
            let (bytes, limit) = self.queue.fill();
            sampler.fit(bytes, limit);
        }
    }

    #[inline]
    fn add(&mut self, plan: &Plan, event: &Event<'_>) {
        for addition in &plan.additions {
            if let Some(table) = self.tables.get_mut(addition.table) {
                table.add(event, &addition.columns);
            }
        }
    }

    /// Adds a row of a script's table.
    #[cold]
    fn add_row(&mut self, plan: &Plan, row: &Event<'_>, weight: &Weight) {
        for addition in &plan.additions {
            let Some(table) = self.tables.get_mut(addition.table) else { continue };
            match weight {
                Weight::Kept(tallied) => table.add_tallied(row, &addition.columns, tallied),
                Weight::Hits(column) => {
                    if let Value::Unsigned(hits) = row.at(*column) {
                        table.add_hits(row, &addition.columns, hits);
                    }
                }
            }
        }
    }
}

impl Sink for End<'_> {
    #[inline]
    fn event(&mut self, event: &Event<'_>) -> bool {
        let plans = self.plans;
        let Some(plan) = plans.get(usize::from(event.id())) else { return true };
        self.add(plan, event);
        if plan.deliver && self.sampler.as_mut().is_none_or(|sampler| sampler.keeps(event.id())) {
            self.builder.push(event);
            if self.builder.is_full()
                && let Some(batch) = self.builder.finish()
            {
                self.queue.push(batch);
                self.fit();
            }
        }
        true
    }

    /// Tables are the same in any order.
    #[inline]
    fn unordered(&mut self, event: &Event<'_>) -> bool {
        let plans = self.plans;
        match plans.get(usize::from(event.id())) {
            Some(plan) if !plan.deliver => {
                match &plan.row {
                    None => self.add(plan, event),
                    Some(weight) => self.add_row(plan, event, weight),
                }
                true
            }
            _ => false,
        }
    }

    fn rows(&mut self, id: u16, rows: &Rows) {
        let plans = self.plans;
        for addition in plans.get(usize::from(id)).into_iter().flat_map(|plan| &plan.additions) {
            if let Some(table) = self.tables.get_mut(addition.table) {
                table.add_rows(rows, &addition.row);
            }
        }
    }
}

//! One turn of the road of an event: sources, merge, then tables and queue. No thread lives here; see [`crate::drain`].

use std::sync::Arc;

use crate::aggregate::{Table, TableGuard};
use crate::batch::BatchBuilder;
use crate::error::Error;
use crate::event::{Column, Event, Layouts};
use crate::layout::EventLayout;
use crate::merge::{Merge, Turn};
use crate::queue::Queue;
use crate::sink::Sink;
use crate::source::Source;
use crate::spec::SessionSpec;
use crate::stack::StackTable;

/// What to do with an event.
#[derive(Debug, Default, Clone)]
struct Plan {
    deliver: bool,
    /// Tables and the columns of their keys.
    counts: Vec<(usize, Box<[Option<Column>]>)>,
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
        let of_probe = |probe: &crate::spec::ProbeSpec| {
            probe.aggregates.iter().map(|aggregate| Arc::new(Table::new(aggregate.by.len()))).collect()
        };
        Self {
            queue: Queue::new(usize::try_from(spec.limits.queue).unwrap_or(usize::MAX)),
            tables: spec.probes.iter().map(of_probe).collect(),
            stacks: Arc::default(),
            layouts,
        }
    }
}

/// Moves events from sources to outlets.
pub struct Pump {
    merge: Merge,
    outlets: Arc<Outlets>,
    plans: Vec<Plan>,
    tables: Vec<Arc<Table>>,
    builder: BatchBuilder,
}

impl Pump {
    /// Between these.
    pub fn new(spec: &SessionSpec, sources: Vec<Box<dyn Source>>, outlets: Arc<Outlets>) -> Self {
        let (layouts, stacks) = (Arc::clone(&outlets.layouts), Arc::clone(&outlets.stacks));
        let mut tables = Vec::new();
        let mut first_of_probe = Vec::new();
        for of_probe in &outlets.tables {
            first_of_probe.push(tables.len());
            tables.extend(of_probe.iter().cloned());
        }
        let mut plans = vec![Plan::default(); layouts.len()];
        for layout in layouts.iter() {
            let schema = &layout.schema;
            let Some(probe) = spec.probes.get(schema.probe as usize) else { continue };
            let first = first_of_probe.get(schema.probe as usize).copied().unwrap_or_default();
            let counts = schema.keys.iter().take(probe.aggregates.len()).enumerate();
            plans[usize::from(schema.id)] = Plan {
                deliver: probe.deliver,
                counts: counts.map(|(index, columns)| (first + index, resolve(layout, columns))).collect(),
            };
        }
        let builder = BatchBuilder::new(Arc::clone(&layouts), Arc::clone(&stacks));
        Self { merge: Merge::new(sources, layouts, stacks), outlets, plans, tables, builder }
    }

    /// Reads what there is and lets go of what is certain to be complete; with `flush`, of everything.
    pub fn turn(&mut self, flush: bool) -> Result<Turn, Error> {
        let tables = self.tables.iter().map(|table| table.lock()).collect();
        let queue = &self.outlets.queue;
        let mut end = End { plans: &self.plans, tables, builder: &mut self.builder, queue };
        let turn = self.merge.turn(&mut end, flush);
        drop(end);
        if let Some(batch) = self.builder.finish() {
            self.outlets.queue.push(batch);
        }
        turn
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

/// A key's columns; none for a field that isn't there.
fn resolve(layout: &EventLayout, columns: &[u32]) -> Box<[Option<Column>]> {
    columns.iter().map(|&column| Column::new(layout, column as usize)).collect()
}

struct End<'a> {
    plans: &'a [Plan],
    tables: Vec<TableGuard<'a>>,
    builder: &'a mut BatchBuilder,
    queue: &'a Queue,
}

impl End<'_> {
    #[inline]
    fn count(&mut self, plan: &Plan, event: &Event<'_>) {
        for (table, columns) in &plan.counts {
            if let Some(table) = self.tables.get_mut(*table) {
                table.count(event, columns);
            }
        }
    }
}

impl Sink for End<'_> {
    #[inline]
    fn event(&mut self, event: &Event<'_>) -> bool {
        let plans = self.plans;
        let Some(plan) = plans.get(usize::from(event.id())) else { return true };
        self.count(plan, event);
        if plan.deliver {
            self.builder.push(event);
            if self.builder.is_full()
                && let Some(batch) = self.builder.finish()
            {
                self.queue.push(batch);
            }
        }
        true
    }

    /// Counts are the same in any order.
    #[inline]
    fn unordered(&mut self, event: &Event<'_>) -> bool {
        let plans = self.plans;
        match plans.get(usize::from(event.id())) {
            Some(plan) if !plan.deliver => {
                self.count(plan, event);
                true
            }
            _ => false,
        }
    }
}

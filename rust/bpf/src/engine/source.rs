//! Rings as [`Source`]s. In: one CPU's ring, of either kind. Out: its records, and how far in time they are complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spile_core::error::Error;
use spile_core::event::Layouts;
use spile_core::source::compact::Projection;
use spile_core::source::{Progress, Run, Source};

use super::transport::Mapped;
use crate::kernel::clock;
use crate::kernel::map::Map;
use crate::kernel::mapped_ring::MappedRing;
use crate::kernel::ring::{Pass, Ring};

/// A program takes its event's time a little before (a record with strings) or after it reserves the record, so a
/// reservation that a pass doesn't see may still get a time from before the pass.
const SLACK: u64 = 1_000_000;

struct MappedSource {
    ring: MappedRing,
    layouts: Arc<Layouts>,
    /// By event id, of events that are only counted.
    projections: Vec<Option<Projection>>,
    is_closed: Arc<AtomicBool>,
    watermark: u64,
}

struct RingSource {
    ring: Ring,
    cpu: u16,
    is_closed: Arc<AtomicBool>,
    watermark: u64,
}

/// Readers for rings, in the order of CPUs. They end once `is_closed` is true and they have read everything.
pub(super) fn open(rings: &[(Map, u32)], is_closed: &Arc<AtomicBool>) -> Result<Vec<Box<dyn Source>>, Error> {
    let open = |(cpu, (map, bytes)): (u16, &(Map, u32))| {
        let ring = Ring::open(map, *bytes)?;
        let source = RingSource { ring, cpu, is_closed: Arc::clone(is_closed), watermark: 0 };
        Ok(Box::new(source) as Box<dyn Source>)
    };
    (0..).zip(rings).map(open).collect()
}

/// Readers for mapped rings, likewise.
pub(super) fn open_mapped(
    mapped: &Mapped,
    cpus: u32,
    layouts: &Arc<Layouts>,
    is_closed: &Arc<AtomicBool>,
) -> Result<Vec<Box<dyn Source>>, Error> {
    let open = |cpu: u32| {
        let ring = MappedRing::open(&mapped.map, mapped.rings, cpu as u16)?;
        let (layouts, is_closed) = (Arc::clone(layouts), Arc::clone(is_closed));
        let source = MappedSource { ring, layouts, projections: Vec::new(), is_closed, watermark: 0 };
        Ok(Box::new(source) as Box<dyn Source>)
    };
    (0..cpus).map(open).collect()
}

impl Source for MappedSource {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let is_closed = self.is_closed.load(Ordering::Acquire);
        let now = clock::monotonic();
        let Self { ring, layouts, projections, .. } = self;
        let pass = ring.pass(layouts, |stretch| {
            for record in stretch.records(layouts) {
                let projection = projections.get(usize::from(record.layout.schema.id)).and_then(Option::as_ref);
                if !projection.is_some_and(|projection| run.push_row(projection, record.bytes)) {
                    run.push_compact(stretch.cpu, record.layout, record.time, record.bytes);
                }
            }
            !run.is_full()
        })?;
        Ok(progress(pass, is_closed, now, &mut self.watermark))
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        let place = usize::from(id);
        if self.projections.len() <= place {
            self.projections.resize(place + 1, None);
        }
        self.projections[place] = self.layouts.get(id).and_then(|layout| Projection::new(layout, columns));
    }
}

/// What a pass achieved that began at a time, after it was looked whether the rings are closed.
fn progress(pass: Pass, is_closed: bool, now: u64, watermark: &mut u64) -> Progress {
    let drained = pass == Pass::Drained;
    if drained {
        *watermark = if is_closed { u64::MAX } else { now.saturating_sub(SLACK) };
    }
    Progress { drained, ended: drained && is_closed, watermark: *watermark }
}

impl Source for RingSource {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        // Both come before the pass: what is written after them need not be seen by it.
        let is_closed = self.is_closed.load(Ordering::Acquire);
        let now = clock::monotonic();
        let Self { ring, cpu, .. } = self;
        let pass = ring.pass(|record| {
            run.push(*cpu, record);
            !run.is_full()
        })?;
        Ok(progress(pass, is_closed, now, &mut self.watermark))
    }
}

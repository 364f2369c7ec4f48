//! A ring as a [`Source`]. In: one CPU's ring. Out: its records, and how far in time they are complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spile_core::error::Error;
use spile_core::source::{Progress, Run, Source};

use crate::kernel::clock;
use crate::kernel::map::Map;
use crate::kernel::ring::{Pass, Ring};

/// A program takes its event's time a little before (a record with strings) or after it reserves the record, so a
/// reservation that a pass doesn't see may still get a time from before the pass.
const SLACK: u64 = 1_000_000;

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
        if pass == Pass::Drained {
            self.watermark = if is_closed { u64::MAX } else { now.saturating_sub(SLACK) };
        }
        let drained = pass == Pass::Drained;
        Ok(Progress { drained, ended: drained && is_closed, watermark: self.watermark })
    }
}

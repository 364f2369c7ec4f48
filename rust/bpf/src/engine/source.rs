//! Rings as [`Source`]s. In: one CPU's ring, of either kind. Out: its records, and how far in time they are complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spile_core::error::Error;
use spile_core::event::Layouts;
use spile_core::recording::Recorder;
use spile_core::source::compact::Projection;
use spile_core::source::stretch::{Compact, Stretch};
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
    /// By event id.
    forms: Vec<Form>,
    /// Events that have one.
    wanted: usize,
    is_closed: Arc<AtomicBool>,
    watermark: u64,
}

/// What becomes of an event's records in a run.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Record,
    /// For events that are only counted.
    Row(Projection),
    /// They are recorded, and nobody needs them here.
    Nothing,
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
        Ok(Box::new(MappedSource::new(ring, Arc::clone(layouts), Arc::clone(is_closed))) as Box<dyn Source>)
    };
    (0..cpus).map(open).collect()
}

impl MappedSource {
    fn new(ring: MappedRing, layouts: Arc<Layouts>, is_closed: Arc<AtomicBool>) -> Self {
        let form = |id: usize| layouts.get(id as u16).map_or(Form::Nothing, |_| Form::Record);
        let forms: Vec<Form> = (0..layouts.len()).map(form).collect();
        let wanted = forms.iter().filter(|form| **form != Form::Nothing).count();
        Self { ring, layouts, forms, wanted, is_closed, watermark: 0 }
    }

    /// Lets `record` have each stretch before its records come into the run, as far as they do.
    fn pass(&mut self, run: &mut Run, mut record: impl FnMut(&Stretch<'_>)) -> Result<Progress, Error> {
        let is_closed = self.is_closed.load(Ordering::Acquire);
        let now = clock::monotonic();
        let Self { ring, layouts, forms, wanted, .. } = self;
        let mut bytes = 0;
        let pass = ring.pass(layouts, |stretch| {
            record(stretch);
            if *wanted > 0 {
                stretch.records(layouts).for_each(|record| push(run, forms, stretch.cpu, &record));
            }
            bytes += stretch.bytes.len();
            !run.is_full() && bytes < Run::ENOUGH
        })?;
        Ok(progress(pass, is_closed, now, &mut self.watermark))
    }

    fn set(&mut self, id: u16, form: Form) {
        if let Some(old) = self.forms.get_mut(usize::from(id)) {
            self.wanted -= usize::from(*old != Form::Nothing);
            self.wanted += usize::from(form != Form::Nothing);
            *old = form;
        }
    }
}

#[inline]
fn push(run: &mut Run, forms: &[Form], cpu: u16, record: &Compact<'_>) {
    match forms.get(usize::from(record.layout.schema.id)) {
        Some(Form::Nothing) => {}
        Some(Form::Row(projection)) if run.push_row(projection, record.bytes) => {}
        _ => run.push_compact(cpu, record.layout, record.time, record.bytes),
    }
}

impl Source for MappedSource {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        self.pass(run, |_| {})
    }

    fn record(&mut self, run: &mut Run, recorder: &mut Recorder) -> Result<Progress, Error> {
        self.pass(run, |stretch| recorder.stretch(stretch))
    }

    fn records_itself(&self) -> bool {
        true
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        let projection = self.layouts.get(id).and_then(|layout| Projection::new(layout, columns));
        self.set(id, projection.map_or(Form::Record, Form::Row));
    }

    fn leave_out(&mut self, id: u16) {
        self.set(id, Form::Nothing);
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs::OpenOptions;

    use proptest::prelude::*;
    use spile_core::event::{Event, Record};
    use spile_core::merge::Merge;
    use spile_core::recording::{self, Head, Recording, Replay, ReplaySource};
    use spile_core::sink::Sink;
    use spile_core::source::rows::Rows;

    use super::super::tests::spec;
    use super::*;
    use crate::kernel::mapped_ring::program::{Program, layouts, with_rings};

    /// What programs and the reader do.
    #[derive(Debug, Clone)]
    enum Act {
        /// On a CPU, an event of an id, so much later than the last one there.
        Send(usize, u16, i64, u64),
        /// The same, committed once so many other things have been done.
        SendLater(usize, u16, i64, u64, usize),
        Read,
    }

    /// What somebody needs beside the recording.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Needs {
        Everything,
        /// Of event 1 nothing, of event 2 its column.
        Rows,
        /// Event 1.
        One,
        Nothing,
    }

    fn act() -> impl Strategy<Value = Act> {
        // Interrupts' times stand out of order, and gaps may be long.
        let step = prop_oneof![8 => -2000_i64..5000, 1 => 0..3_000_000_000_i64];
        let event = (0..3_usize, 1..3_u16, step, any::<u64>());
        prop_oneof![
            20 => event.clone().prop_map(|(cpu, id, step, x)| Act::Send(cpu, id, step, x)),
            1 => (event, 0..30_usize).prop_map(|((cpu, id, step, x), until)| Act::SendLater(cpu, id, step, x, until)),
            1 => Just(Act::Read),
        ]
    }

    #[derive(Default)]
    struct Seen {
        /// CPU, time, and the whole record.
        events: Vec<(u16, u64, Vec<u8>)>,
        rows: Vec<u64>,
    }

    impl Sink for Seen {
        fn event(&mut self, event: &Event<'_>) -> bool {
            self.events.push((event.cpu, event.time(), event.bytes.to_vec()));
            true
        }

        fn rows(&mut self, id: u16, rows: &Rows) {
            assert_eq!(id, 2);
            self.rows.extend(rows.iter().flat_map(|(row, count)| row.repeat(count as usize)));
        }
    }

    /// An event as its program meant it: what an aligned record of it is.
    fn meant(cpu: usize, id: u16, time: u64, x: u64) -> (u16, u64, Vec<u8>) {
        let head = [time, u64::from(id)];
        let words = head.iter().chain((id == 2).then_some(&x));
        (cpu as u16, time, words.flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Sends as `acts` say, and lets the merge turn; gives what was sent on each CPU, in order.
    fn play(acts: &[Act], programs: &mut [Program], mut turn: impl FnMut() -> bool) -> Vec<Vec<(u16, u64, Vec<u8>)>> {
        let mut sent = vec![Vec::new(); programs.len()];
        let mut clocks = vec![1_u64 << 36; programs.len()];
        let mut waiting: Vec<(usize, usize, u64, u64)> = Vec::new();
        for (number, act) in acts.iter().enumerate() {
            if let Act::Send(cpu, id, step, x) | Act::SendLater(cpu, id, step, x, _) = *act {
                let cpu = cpu % programs.len();
                let time = clocks[cpu].wrapping_add_signed(step);
                // The field's four bytes are those behind the header's hole, and four of the next word.
                let words = [x << 32, x >> 32];
                if let Some((place, first)) = programs[cpu].begin(id, time, &words[..2 * usize::from(id == 2)]) {
                    clocks[cpu] = clocks[cpu].max(time);
                    sent[cpu].push(meant(cpu, id, time, x));
                    let until = if let Act::SendLater(.., more) = act { number + more } else { number };
                    waiting.push((until, cpu, place, first));
                }
            } else {
                turn();
            }
            waiting.retain(|&(until, cpu, place, first)| {
                if until <= number {
                    programs[cpu].set(place, first);
                }
                until > number
            });
        }
        waiting.iter().for_each(|&(_, cpu, place, first)| programs[cpu].set(place, first));
        sent
    }

    fn by_cpu(events: &[(u16, u64, Vec<u8>)], cpus: usize) -> Vec<Vec<(u16, u64, Vec<u8>)>> {
        let of = |cpu: usize| events.iter().filter(move |event| usize::from(event.0) == cpu).cloned();
        (0..cpus).map(|cpu| of(cpu).collect()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_copied_unread_is_replayed_as_it_would_have_been_read(
            acts in prop::collection::vec(act(), 1..1500), cpus in 1..4_u16,
            needs in prop::sample::select(vec![Needs::Everything, Needs::Rows, Needs::One, Needs::Nothing]),
        ) {
            let path = std::env::temp_dir().join(format!("spile-tape-{}", std::process::id()));
            let (mut live, mut sent, mut bytes) = (Seen::default(), Vec::new(), 0);
            let mut spec = spec();
            spec.probes.push(spec.probes[0].clone());
            spec.probes[1].name = "other".into();
            with_rings(cpus, |rings, mut programs| {
                let (layouts, is_closed) = (layouts(), Arc::<AtomicBool>::default());
                let source = |ring| MappedSource::new(ring, Arc::clone(&layouts), Arc::clone(&is_closed));
                let sources = rings.into_iter().map(|ring| Box::new(source(ring)) as Box<dyn Source>);
                let mut merge = Merge::new(sources.collect(), Arc::clone(&layouts), Arc::default());
                let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
                let head = Head::new(&spec, &layouts, Vec::new());
                let (recorder, mut handle) =
                    recording::record(file, "tape", true, &head, Arc::clone(&layouts), Box::new(|| None)).unwrap();
                merge.record(recorder);
                if needs == Needs::Rows {
                    merge.project(2, &[0]);
                } else if matches!(needs, Needs::One | Needs::Nothing) {
                    merge.leave_out(2);
                }
                if matches!(needs, Needs::Rows | Needs::Nothing) {
                    merge.leave_out(1);
                }
                let mut turn = || {
                    let turn = merge.turn(&mut live, false).unwrap();
                    bytes += turn.bytes;
                    turn.ended
                };
                sent = play(&acts, &mut programs, &mut turn);
                is_closed.store(true, Ordering::Release);
                while !turn() {}
                drop(merge);
                handle.close(&[], 0).unwrap();
            });
            let recording = Arc::new(Recording::open(Arc::new(std::fs::read(&path).unwrap())).unwrap());
            let number: usize = sent.iter().map(Vec::len).sum();
            prop_assert_eq!((recording.events(), recording.warnings()), (number as u64, vec![]));
            prop_assert!(bytes >= 8 * number, "who drains would take {bytes} bytes of {number} events for the end");
            let source = ReplaySource::new(Arc::clone(&recording), Arc::<Replay>::default());
            let mut merge = Merge::new(vec![Box::new(source)], Arc::clone(recording.layouts()), Arc::default());
            let mut again = Seen::default();
            while !merge.turn(&mut again, false).unwrap().ended {}
            let id = |event: &(u16, u64, Vec<u8>)| match Record::parse(recording.layouts(), 0, &event.2) {
                Ok(Record::Event(event)) => event.id(),
                _ => 0,
            };
            // Each is there once, and on its CPU in the order of time, as far as none came late.
            let in_time = |mut events: Vec<(u16, u64, Vec<u8>)>| {
                events.sort_by_key(|event| event.1);
                events
            };
            let sorted = |all: Vec<Vec<(u16, u64, Vec<u8>)>>| all.into_iter().map(in_time).collect::<Vec<_>>();
            prop_assert_eq!(sorted(by_cpu(&again.events, cpus.into())), sorted(sent.clone()));
            // Whoever watched live saw the same in the same order.
            let of_one: Vec<_> = again.events.iter().filter(|event| id(event) == 1).cloned().collect();
            let (delivered, rows) = match needs {
                Needs::Everything => (again.events, 0),
                Needs::One => (of_one, 0),
                Needs::Rows => (Vec::new(), number - of_one.len()),
                Needs::Nothing => (Vec::new(), 0),
            };
            prop_assert_eq!(&live.events, &delivered);
            prop_assert_eq!(live.rows.len(), rows);
            let values = sent.iter().flatten().filter(|event| id(event) == 2);
            let mut values: Vec<u64> = values.map(|event| u64::from_le_bytes(event.2[16..].try_into().unwrap())).collect();
            values.sort_unstable();
            live.rows.sort_unstable();
            prop_assert!(live.rows.is_empty() || live.rows == values);
            let _ = std::fs::remove_file(&path);
        }
    }
}

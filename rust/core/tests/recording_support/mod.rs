//! Makes recordings of scripts, and reads them back: as a merge delivers what is recorded, so must the replay.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use spile_core::Error;
use spile_core::event::{Event, Layouts};
use spile_core::layout::COMPACT_BASE;
use spile_core::loss::Row;
use spile_core::merge::Merge;
use spile_core::recording::{Head, Recorder, Recording, Replay, ReplaySource, record};
use spile_core::source::stretch::{Behind, Stretch};
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::SessionSpec;
use spile_core::stack::StackTable;

/// What a merge delivered: each event's CPU and bytes.
pub type Delivered = Vec<(u16, Vec<u8>)>;

/// A spec of one probe, which delivers.
pub fn spec() -> SessionSpec {
    let json = serde_json::json!({
        "version": 1,
        "target": {"pid": null, "follow": true, "cgroup": null, "exclude_self": true},
        "limits": {"buffer": 4096, "queue": 1 << 20, "stack_depth": 127, "stack_cache": 64},
        "probes": [{
            "name": "p", "declared_at": null,
            "targets": [{"kind": "raw_tracepoint", "name": "sched_switch"}],
            "capture": {"kind": "fields", "fields": [{"name": "f0", "expr": {"op": "context", "name": "utime"}}]},
            "where": null,
            "aggregates": [
                {"function": {"kind": "count"}, "by": [{"op": "stack", "space": "kernel", "depth": null}]},
                {"function": {"kind": "count"}, "by": [{"op": "context", "name": "comm"}, {"op": "context", "name": "utime"}]},
            ],
            "deliver": true,
        }],
    });
    SessionSpec::from_json(&json.to_string()).unwrap()
}

/// Gives what another source does, of records of fixed size, as a mapped ring would: those that are compact are copied.
pub struct Mapped {
    source: Box<dyn Source>,
    layouts: Arc<Layouts>,
    near: u64,
}

impl Mapped {
    pub fn boxed(source: Box<dyn Source>, layouts: &Arc<Layouts>) -> Box<dyn Source> {
        Box::new(Self { source, layouts: Arc::clone(layouts), near: 0 })
    }

    /// Writes whole times now and then, and each time if the last one is long ago.
    fn compact(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let time = u64::from_le_bytes(*record.first_chunk().unwrap());
        if time % 7 == 0 || time.abs_diff(self.near) > 1 << 30 {
            out.extend((time as u32).to_le_bytes());
            out.extend(u32::from(COMPACT_BASE).to_le_bytes());
            out.extend(time.to_le_bytes());
            self.near = time;
        }
        let start = out.len();
        out.extend((time as u32).to_le_bytes());
        out.extend(&record[8..]);
        out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    }
}

impl Source for Mapped {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        self.source.read(run)
    }

    fn record(&mut self, run: &mut Run, recorder: &mut Recorder) -> Result<Progress, Error> {
        let outcome = self.source.read(run);
        for &entry in run.entries() {
            let (near, mut bytes) = (self.near, Vec::new());
            self.compact(run.record(entry), &mut bytes);
            let (stretch, behind) = Stretch::of(&self.layouts, entry.cpu, near, &bytes);
            assert_eq!((stretch.bytes.len(), behind), (bytes.len(), Behind::Unasked));
            recorder.stretch(&stretch);
        }
        outcome
    }

    fn records_itself(&self) -> bool {
        true
    }
}

/// A file that goes away by itself.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("spile-recording-{}-{number}", std::process::id())))
    }

    pub fn create(&self) -> File {
        OpenOptions::new().write(true).create(true).truncate(true).open(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs the sources to their end; with a recording beside, whose bytes it gives. What was delivered, and late.
pub fn run(
    sources: Vec<Box<dyn Source>>,
    layouts: &Arc<Layouts>,
    compress: bool,
    rows: &[Row],
) -> (Delivered, Vec<u64>, Vec<u8>) {
    let scratch = Scratch::new();
    let head = Head::new(&spec(), layouts, vec![(1, "sched_switch".into())]);
    let (recorder, mut handle) =
        record(scratch.create(), "x.spile", compress, &head, Arc::clone(layouts), Box::new(|| None)).unwrap();
    let mut merge = Merge::new(sources, Arc::clone(layouts), Arc::default());
    merge.record(recorder);
    let delivered = drive(&mut merge).unwrap();
    let late = merge.late().to_vec();
    drop(merge);
    handle.close(rows, 0).unwrap();
    (delivered, late, std::fs::read(&scratch.0).unwrap())
}

/// Turns until everything has ended.
pub fn drive(merge: &mut Merge) -> Result<Delivered, (Delivered, Error)> {
    let mut delivered = Delivered::new();
    loop {
        let mut sink = |event: &Event<'_>| {
            delivered.push((event.cpu, event.bytes.to_vec()));
            true
        };
        let turn = merge.turn(&mut sink, false);
        let flushed = merge.flush_recording();
        match turn.and_then(|turn| flushed.map(|()| turn)) {
            Ok(turn) if turn.ended => return Ok(delivered),
            Ok(_) => {}
            Err(error) => {
                let mut sink = |event: &Event<'_>| {
                    delivered.push((event.cpu, event.bytes.to_vec()));
                    true
                };
                let _ = merge.turn(&mut sink, true);
                return Err((delivered, error));
            }
        }
    }
}

/// What a replay gave.
pub struct Replayed {
    pub delivered: Delivered,
    pub late: Vec<u64>,
    pub error: Option<Error>,
    pub recording: Arc<Recording>,
    pub stacks: Arc<StackTable>,
}

/// Replays bytes to their end.
pub fn replay(bytes: Vec<u8>) -> Result<Replayed, Error> {
    let recording = Arc::new(Recording::open(Arc::new(bytes))?);
    let source = ReplaySource::new(Arc::clone(&recording), Arc::<Replay>::default());
    let stacks = Arc::<StackTable>::default();
    let mut merge = Merge::new(vec![Box::new(source)], Arc::clone(recording.layouts()), Arc::clone(&stacks));
    let (delivered, error) = match drive(&mut merge) {
        Ok(delivered) => (delivered, None),
        Err((delivered, error)) => (delivered, Some(error)),
    };
    Ok(Replayed { delivered, late: merge.late().to_vec(), error, recording, stacks })
}

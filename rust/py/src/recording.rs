//! Recordings, as Python opens and writes them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use spile_core::Error;
use spile_core::event::Layouts;
use spile_core::layout::Role;
use spile_core::loss::Row;
use spile_core::pump::{Extras, Outlets};
use spile_core::recording::{
    Handle, Head, Recorder, Recording as Open, Replay, ReplaySource, Sample, Sampler, resolve,
};
use spile_core::source::Source;
use spile_core::spec::SessionSpec;

use crate::engine::Origin;
use crate::error::raised;

#[pyclass(frozen, module = "spile._native")]
pub struct Recording {
    pub open: Arc<Open>,
}

#[pymethods]
impl Recording {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let file = File::open(path)?;
        let open = py.detach(|| Open::open(Arc::new(file))).map_err(raised)?;
        Ok(Self { open: Arc::new(open) })
    }

    /// The description as JSON.
    #[getter]
    fn spec(&self) -> PyResult<String> {
        text(serde_json::to_string(&self.open.head().spec))
    }

    /// The names of each probe's captures as they were recorded.
    fn fields(&self, probe: u32) -> Vec<String> {
        let events = self.open.head().events.iter().filter(|event| event.schema.probe == probe);
        let mut names: Vec<String> = Vec::new();
        for field in events.flat_map(|event| &event.schema.fields) {
            if field.role == Role::Capture && !names.contains(&field.name) {
                names.push(field.name.clone());
            }
        }
        names
    }

    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (open, facts) = (&self.open, PyDict::new(py));
        let head = open.head();
        facts.set_item("spile", &head.spile)?;
        facts.set_item("machine", text(serde_json::to_string(&head.machine))?)?;
        facts.set_item("mappings", text(serde_json::to_string(open.mappings()))?)?;
        facts.set_item("begun", (head.clock.monotonic, head.clock.wall))?;
        facts.set_item("ended", open.end().map(|end| (end.clock.monotonic, end.clock.wall)))?;
        facts.set_item("events", open.events())?;
        facts.set_item("length", open.length())?;
        facts.set_item("symbols", open.names().len())?;
        facts.set_item("warnings", open.warnings())?;
        Ok(facts)
    }
}

fn text(json: serde_json::Result<String>) -> PyResult<String> {
    json.map_err(|error| raised(Error::engine(error.to_string())))
}

/// What an engine records, or replays.
#[derive(Default)]
pub struct Tape {
    replay: Option<(Arc<Open>, Arc<Replay>)>,
    /// What begins with the drain.
    extras: Mutex<Extras>,
    handle: Mutex<Option<Handle>>,
}

impl Tape {
    /// For a replay: what its events end in, and where they come from.
    pub fn replay(
        recording: &Recording,
        spec: &SessionSpec,
        unread: Vec<u32>,
    ) -> Result<(Outlets, Box<dyn Source>, Self), Error> {
        let open = Arc::clone(&recording.open);
        let outlets = Outlets::lossless(spec, Arc::new(resolve(open.head(), spec)?));
        outlets.stacks.name_by(Arc::clone(open.names()));
        let replay = Arc::<Replay>::default();
        let source = Box::new(ReplaySource::new(Arc::clone(&open), Arc::clone(&replay)));
        let extras = Mutex::new(Extras { replays: true, unread, recorder: None });
        Ok((outlets, source, Self { replay: Some((open, replay)), extras, handle: Mutex::default() }))
    }

    /// Takes a recording's two ends in.
    pub fn record(&self, (recorder, handle): (Recorder, Handle), unread: Vec<u32>) {
        *lock(&self.extras) = Extras { recorder: Some(recorder), unread, replays: false };
        *lock(&self.handle) = Some(handle);
    }

    /// What is replayed.
    pub fn recording(&self) -> Option<&Open> {
        self.replay.as_ref().map(|(open, _)| &**open)
    }

    /// What the pump does beside moving events.
    pub fn extras(&self) -> Extras {
        std::mem::take(&mut *lock(&self.extras))
    }

    /// Ends a replay.
    pub fn stop(&self) {
        if let Some((_, replay)) = &self.replay {
            replay.close();
        }
    }

    /// Closes what is recorded. The drain has ended, and with it the recorder.
    pub fn close(&self, rows: &[Row], lost_children: u64) -> Result<(), Error> {
        // Without a drain nothing was started.
        drop(self.extras());
        let handle = lock(&self.handle).take();
        handle.map_or(Ok(()), |mut handle| handle.close(rows, lost_children))
    }
}

/// What is replaced whole is never half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a recording says of the session that makes it.
pub fn head(spec: &SessionSpec, layouts: &Layouts, origin: &Origin) -> Result<Head, Error> {
    match origin {
        Origin::Bpf(bpf) => Ok(Head::new(spec, layouts, bpf.names())),
        _ => Err(Error::Unsupported { message: "only what spile itself traces can be recorded".into() }),
    }
}

/// A file of our own, from a descriptor that Python opened.
pub fn file(descriptor: i32) -> Result<File, Error> {
    let own = crate::systemtap::duplicate(descriptor);
    let own: OwnedFd =
        own.map_err(|error| Error::engine(format!("the recording's descriptor {descriptor}: {error}")))?;
    Ok(File::from(own))
}

/// Asks an engine for its ledger, while it lives and nobody else has it in hand: its end waits for the recording's.
pub fn sampler(origin: Weak<Mutex<Origin>>) -> Sampler {
    Box::new(move || {
        let origin = origin.upgrade()?;
        let origin = match origin.try_lock() {
            Ok(origin) => origin,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        let Origin::Bpf(bpf) = &*origin else { return None };
        Some(Sample { rows: bpf.ledger().ok()?, lost_children: bpf.lost_children().ok()? })
    })
}

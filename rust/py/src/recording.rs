//! Recordings, as Python opens and writes them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use spile_core::Error;
use spile_core::recording::{Recording as Open, Sample, Sampler};

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
            if field.role == spile_core::layout::Role::Capture && !names.contains(&field.name) {
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

/// A file of our own, from a descriptor that Python opened.
pub fn file(descriptor: i32) -> Result<File, Error> {
    let own = crate::systemtap::duplicate(descriptor);
    let own: OwnedFd = own.map_err(|error| Error::engine(format!("the recording's descriptor {descriptor}: {error}")))?;
    Ok(File::from(own))
}

/// Asks an engine for its ledger, while it lives and nobody else has it in hand: its end waits for the recording's.
pub fn sampler(origin: Weak<Mutex<Origin>>) -> Sampler {
    Box::new(move || {
        let origin = origin.upgrade()?;
        let origin = match origin.try_lock() {
            Ok(origin) => origin,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        let Origin::Bpf(bpf) = &*origin else { return None };
        Some(Sample { rows: bpf.ledger().ok()?, lost_children: bpf.lost_children().ok()? })
    })
}

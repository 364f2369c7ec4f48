//! Batches: events over one shared buffer.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySlice};
use spile_bpf::kernel::clock;
use spile_core::batch::Batch as Buffer;
use spile_core::event::Event as BufferedEvent;
use spile_core::recording::Recording;

use crate::columns::Columns;
use crate::event::Event;
use crate::kinds::Kinds;
use crate::value::Context;

/// What a batch's events share.
pub struct Shared {
    /// The events.
    pub buffer: Buffer,
    /// Their names.
    pub kinds: Arc<Kinds>,
    /// Nanoseconds to add to a time to get the time of day, sampled when the batch was fetched.
    pub wall_offset: i128,
}

impl Shared {
    /// Samples the clocks; of a recording's events, as it did.
    pub fn new(buffer: Buffer, kinds: Arc<Kinds>, recording: Option<&Recording>) -> Arc<Self> {
        let wall_offset = match recording {
            Some(recording) => recording.wall_offset(buffer.event(0).map_or(0, |event| event.time())),
            None => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                wall.cast_signed() - i128::from(clock::monotonic())
            }
        };
        Arc::new(Self { buffer, kinds, wall_offset })
    }

    /// An event. Raises `IndexError` behind the end.
    pub fn event(&self, index: usize) -> PyResult<BufferedEvent<'_>> {
        self.buffer.event(index).ok_or_else(|| PyIndexError::new_err("batch index out of range"))
    }

    /// For values.
    pub fn context(&self) -> Context<'_> {
        Context { kinds: &self.kinds, stacks: self.buffer.stacks() }
    }
}

#[pyclass(frozen, sequence, module = "spile._native")]
pub struct Batch {
    pub shared: Arc<Shared>,
}

impl Batch {
    /// The object for an event: of the script's own class where its probe has one.
    pub fn object<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        event_object(py, &self.shared, index)
    }
}

/// The object for an event: of the script's own class where its probe has one.
pub fn event_object<'py>(py: Python<'py>, shared: &Arc<Shared>, index: usize) -> PyResult<Bound<'py, PyAny>> {
    let id = shared.event(index)?.id();
    let view = Event::view(Arc::clone(shared), index);
    match shared.kinds.get(id).and_then(|kind| kind.class.as_ref()) {
        None => Ok(Bound::new(py, view)?.into_any()),
        Some(class) => class.bind(py).call1((Bound::new(py, view)?,)),
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.shared.buffer.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let length = self.shared.buffer.len();
        if let Ok(slice) = index.cast::<PySlice>() {
            let indices = slice.indices(length.cast_signed())?;
            let mut at = indices.start;
            let list = PyList::empty(py);
            for _ in 0..indices.slicelength {
                list.append(self.object(py, at.cast_unsigned())?)?;
                at += indices.step;
            }
            return Ok(list.into_any());
        }
        let index: isize = index.extract()?;
        let place = if index < 0 { index + length.cast_signed() } else { index };
        let place = usize::try_from(place).map_err(|_| PyIndexError::new_err("batch index out of range"))?;
        self.object(py, place)
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.shared.buffer.nbytes()
    }

    fn by_probe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut indexes: Vec<(u16, Vec<u32>)> = Vec::new();
        for (index, event) in self.shared.buffer.events().enumerate() {
            let index = index as u32;
            match indexes.iter_mut().find(|(id, _)| *id == event.id()) {
                Some((_, list)) => list.push(index),
                None => indexes.push((event.id(), vec![index])),
            }
        }
        let tables = PyDict::new(py);
        for (id, list) in indexes {
            let Some(kind) = self.shared.kinds.get(id) else { continue };
            // A group's members have layouts of their own, so its name alone may stand for several.
            let probe = &kind.probe.text;
            let is_group = self.shared.kinds.iter().any(|other| other.id != id && other.probe.text == *probe);
            let name = if is_group { format!("{probe}:{}", kind.name.text) } else { probe.clone() };
            tables.set_item(name, Columns::new(Arc::clone(&self.shared), id, list))?;
        }
        Ok(tables)
    }

    fn columns(&self) -> PyResult<Columns> {
        let events = &self.shared.buffer;
        let id = events.event(0).map(|event| event.id());
        let Some(id) = id.filter(|id| events.events().all(|event| event.id() == *id)) else {
            let what = if id.is_none() { "no event" } else { "several kinds of event" };
            return Err(PyValueError::new_err(format!("{what} in this batch; by_probe() gives each kind's columns")));
        };
        Ok(Columns::new(Arc::clone(&self.shared), id, (0..events.len() as u32).collect()))
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {} events, {} bytes>", self.shared.buffer.len(), self.shared.buffer.nbytes())
    }
}

//! Events, as Python sees them: frozen views of a batch.

use std::sync::Arc;

use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyMapping, PyString, PyTuple, PyType};

use crate::batch::Shared;
use crate::kinds::Kind;

/// Names that are an event's own whatever its fields are called.
const OWN: [&str; 9] = ["id", "probe", "time", "cpu", "datetime", "keys", "values", "items", "get"];

#[pyclass(frozen, subclass, mapping, module = "spile._native")]
pub struct Event {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// A batch's.
    View { shared: Arc<Shared>, index: u32 },
    /// Its own: copied, unpickled, or made for a test.
    Detached(Arc<Detached>),
}

struct Detached {
    id: u16,
    probe: Py<PyString>,
    time: u64,
    cpu: u16,
    wall_offset: i128,
    fields: Py<PyDict>,
}

impl Event {
    /// An event of a batch. The caller has seen that it is there.
    pub fn view(shared: Arc<Shared>, index: usize) -> Self {
        Self { source: Source::View { shared, index: index as u32 } }
    }

    fn wall_offset(&self) -> i128 {
        match &self.source {
            Source::View { shared, .. } => shared.wall_offset,
            Source::Detached(own) => own.wall_offset,
        }
    }

    fn field<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.source {
            Source::View { shared, index } => {
                let Some((event, kind)) = view(shared, *index) else { return Ok(None) };
                let Some(field) = kind.field(name)? else { return Ok(None) };
                shared.context().field(name.py(), field, &event).map(Some)
            }
            Source::Detached(own) => own.fields.bind(name.py()).get_item(name),
        }
    }

    /// The fields, converted.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.source {
            Source::View { shared, index } => {
                let dict = PyDict::new(py);
                if let Some((event, kind)) = view(shared, *index) {
                    for field in &kind.fields {
                        let value = shared.context().field(py, field, &event)?;
                        dict.set_item(field.name.object(py), value)?;
                    }
                }
                Ok(dict)
            }
            Source::Detached(own) => own.fields.bind(py).copy(),
        }
    }
}

fn view(shared: &Shared, index: u32) -> Option<(spile_core::event::Event<'_>, &Kind)> {
    let event = shared.buffer.event(index as usize)?;
    let kind = shared.kinds.get(event.id())?;
    Some((event, kind))
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (source, fields = None, /, *, id = 0, time = 0, cpu = 0))]
    fn new(
        source: &Bound<'_, PyAny>,
        fields: Option<&Bound<'_, PyMapping>>,
        id: u16,
        time: u64,
        cpu: u16,
    ) -> PyResult<Self> {
        if let Ok(event) = source.cast::<Self>() {
            return Ok(Self { source: event.get().source.clone() });
        }
        let py = source.py();
        let own = PyDict::new(py);
        if let Some(fields) = fields {
            own.update(fields)?;
        }
        let probe =
            source.cast::<PyString>().map_err(|_| PyTypeError::new_err("an event is made from its probe's name"))?;
        let probe = probe.clone().unbind();
        let fields = own.unbind();
        Ok(Self { source: Source::Detached(Arc::new(Detached { id, probe, time, cpu, wall_offset: 0, fields })) })
    }

    #[getter]
    fn id(&self) -> u16 {
        match &self.source {
            Source::View { shared, index } => shared.buffer.event(*index as usize).map_or(0, |event| event.id()),
            Source::Detached(own) => own.id,
        }
    }

    #[getter]
    fn probe<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match &self.source {
            Source::View { shared, index } => match view(shared, *index) {
                Some((_, kind)) => kind.probe.object(py),
                None => PyString::new(py, ""),
            },
            Source::Detached(own) => own.probe.bind(py).clone(),
        }
    }

    #[getter]
    fn time(&self) -> u64 {
        match &self.source {
            Source::View { shared, index } => shared.buffer.event(*index as usize).map_or(0, |event| event.time()),
            Source::Detached(own) => own.time,
        }
    }

    #[getter]
    fn cpu(&self) -> u16 {
        match &self.source {
            Source::View { shared, index } => shared.buffer.event(*index as usize).map_or(0, |event| event.cpu),
            Source::Detached(own) => own.cpu,
        }
    }

    #[getter]
    fn datetime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let nanoseconds = i128::from(self.time()) + self.wall_offset();
        let module = py.import("datetime")?;
        let epoch = module.getattr("datetime")?.call_method1("fromtimestamp", (0, module.getattr("UTC")?))?;
        let delta = module.getattr("timedelta")?.call1((0, 0, nanoseconds / 1000))?;
        epoch.add(delta)?.call_method0("astimezone")
    }

    fn __getattribute__<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let text = name.to_str()?;
        if !text.starts_with("__")
            && !OWN.contains(&text)
            && let Some(value) = slf.get().field(name)?
        {
            return Ok(value);
        }
        // SAFETY: both are live objects, and the answer is a new reference, or null with an exception set.
        unsafe {
            let object = ffi::PyObject_GenericGetAttr(slf.as_ptr(), name.as_ptr());
            Bound::from_owned_ptr_or_err(slf.py(), object)
        }
    }

    fn __getitem__<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let found = match name.cast::<PyString>() {
            Ok(name) => self.field(name)?,
            Err(_) => None,
        };
        found.ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(name) = name.cast::<PyString>() else { return Ok(false) };
        Ok(self.field(name)?.is_some())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        match &self.source {
            Source::View { shared, index } => view(shared, *index).map_or(0, |(_, kind)| kind.fields.len()),
            Source::Detached(own) => own.fields.bind(py).len(),
        }
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match &self.source {
            Source::View { shared, index } => {
                let fields = view(shared, *index).map_or(&[][..], |(_, kind)| &kind.fields);
                PyList::new(py, fields.iter().map(|field| field.name.object(py)))
            }
            Source::Detached(own) => Ok(own.fields.bind(py).keys()),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.try_iter()
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        Ok(self.fields(py)?.values())
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        Ok(self.fields(py)?.items())
    }

    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Ok(key) = key.cast::<PyString>() else { return Ok(default) };
        Ok(self.field(key)?.or(default))
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let is_equal = if let Ok(other) = other.cast::<Self>() {
            let other = other.get();
            self.time() == other.time()
                && self.cpu() == other.cpu()
                && self.probe(py).as_any().eq(other.probe(py))?
                && self.fields(py)?.eq(other.fields(py)?)?
        } else if let Ok(mapping) = other.cast::<PyMapping>() {
            let fields = PyDict::new(py);
            fields.update(mapping)?;
            self.fields(py)?.eq(fields)?
        } else {
            return Ok(py.NotImplemented().into_bound(py));
        };
        match op {
            CompareOp::Eq => Ok(is_equal.into_pyobject(py)?.to_owned().into_any()),
            CompareOp::Ne => Ok((!is_equal).into_pyobject(py)?.to_owned().into_any()),
            _ => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let mut text = format!("<{} {}", slf.get_type().name()?, this.probe(py));
        for (name, value) in this.fields(py)?.iter() {
            text.push_str(&format!(" {name}={}", value.repr()?));
        }
        Ok(format!("{text} time={} cpu={}>", this.time(), this.cpu()))
    }

    /// A copy that has its own fields, independent of its batch: for `copy` and `pickle`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let restore = py.import("spile._native")?.getattr("restore_event")?;
        let parts =
            (slf.get_type(), this.probe(py), this.fields(py)?, this.id(), this.time(), this.cpu(), this.wall_offset());
        Ok((restore, parts.into_pyobject(py)?))
    }
}

/// Puts a pickled or copied event together.
#[pyfunction]
#[pyo3(signature = (class, probe, fields, id, time, cpu, wall_offset, /))]
pub fn restore_event<'py>(
    class: &Bound<'py, PyType>,
    probe: Bound<'py, PyString>,
    fields: Bound<'py, PyDict>,
    id: u16,
    time: u64,
    cpu: u16,
    wall_offset: i128,
) -> PyResult<Bound<'py, PyAny>> {
    let own = Detached { id, probe: probe.unbind(), time, cpu, wall_offset, fields: fields.unbind() };
    let event = Bound::new(class.py(), Event { source: Source::Detached(Arc::new(own)) })?;
    if class.is(class.py().get_type::<Event>()) { Ok(event.into_any()) } else { class.call1((event,)) }
}

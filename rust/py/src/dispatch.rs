//! Calls Python handlers for events, with nothing of Python in between.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use spile_core::event::Event;

use crate::batch::{Batch, Shared, event_object};
use crate::kinds::Kind;

/// Events between two looks at pending signals.
const SIGNAL_INTERVAL: usize = 1024;
/// The most arguments that are passed without an allocation.
const FEW: usize = 16;

unsafe extern "C" {
    /// In CPython's public API since 3.9 and in its stable ABI since 3.12 (PEP 590, bpo-41083): 3.11 exports it too, and
    /// a call by a tuple costs half as much again.
    fn PyObject_Vectorcall(
        callable: *mut ffi::PyObject,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Tells the callee that it may use the place before the first argument (`PY_VECTORCALL_ARGUMENTS_OFFSET`).
const OFFSET_FLAG: usize = 1 << (usize::BITS - 1);

enum Argument {
    Field(usize),
    Event,
    Id,
    Probe,
    Time,
    Cpu,
    Constant(Py<PyAny>),
}

struct Handler {
    callable: Py<PyAny>,
    arguments: Vec<Argument>,
}

#[pyclass(frozen, module = "spile._native")]
pub struct Dispatcher {
    by_id: Vec<Vec<Handler>>,
}

type Plans<'py> = HashMap<u16, Vec<(Py<PyAny>, Vec<Bound<'py, PyAny>>)>>;

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(plans: Plans<'_>) -> PyResult<Self> {
        let mut by_id: Vec<Vec<Handler>> = Vec::new();
        for (id, handlers) in plans {
            let id = usize::from(id);
            if by_id.len() <= id {
                by_id.resize_with(id + 1, Vec::new);
            }
            for (callable, arguments) in handlers {
                let arguments = arguments.iter().map(argument).collect::<PyResult<Vec<_>>>()?;
                if arguments.len() > FEW {
                    return Err(PyValueError::new_err(format!("a handler with more than {FEW} parameters")));
                }
                by_id[id].push(Handler { callable, arguments });
            }
        }
        Ok(Self { by_id })
    }

    fn handles(&self, event_id: u16) -> bool {
        self.by_id.get(usize::from(event_id)).is_some_and(|handlers| !handlers.is_empty())
    }

    #[pyo3(signature = (batch, start = 0, limit = None))]
    fn dispatch(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, Batch>,
        start: usize,
        limit: Option<usize>,
    ) -> PyResult<usize> {
        let shared = &batch.get().shared;
        let end = limit.map_or(shared.buffer.len(), |limit| shared.buffer.len().min(start.saturating_add(limit)));
        for index in start..end {
            let Some(event) = shared.buffer.event(index) else { break };
            let Some(kind) = shared.kinds.get(event.id()) else { continue };
            let handlers = self.by_id.get(usize::from(event.id())).map_or(&[][..], Vec::as_slice);
            for handler in handlers {
                handler.call(py, &Subject { shared, kind, event, index })?;
            }
            if (index - start) % SIGNAL_INTERVAL == SIGNAL_INTERVAL - 1 {
                py.check_signals()?;
            }
        }
        Ok(end.max(start))
    }
}

fn argument(object: &Bound<'_, PyAny>) -> PyResult<Argument> {
    if let Ok(constant) = object.cast::<PyTuple>() {
        return Ok(Argument::Constant(constant.get_item(0)?.unbind()));
    }
    if let Ok(name) = object.cast::<PyString>() {
        return match name.to_str()? {
            "event" => Ok(Argument::Event),
            "id" => Ok(Argument::Id),
            "probe" => Ok(Argument::Probe),
            "time" => Ok(Argument::Time),
            "cpu" => Ok(Argument::Cpu),
            other => Err(PyValueError::new_err(format!("{other:?} is no part of an event"))),
        };
    }
    Ok(Argument::Field(object.extract()?))
}

impl Handler {
    #[inline]
    fn call(&self, py: Python<'_>, subject: &Subject<'_>) -> PyResult<()> {
        let mut objects: [Option<Bound<'_, PyAny>>; FEW] = [const { None }; FEW];
        let mut pointers = [std::ptr::null_mut(); FEW + 1];
        for (place, argument) in self.arguments.iter().enumerate() {
            let object = argument.object(py, subject)?;
            pointers[place + 1] = object.as_ptr();
            objects[place] = Some(object);
        }
        let count = self.arguments.len() | OFFSET_FLAG;
        // SAFETY: the pointers from the second on are live objects, as many as said, kept by `objects`; the first place
        // is there for the callee to use. The answer is a new reference, or null with an exception set.
        let result = unsafe {
            let first = pointers.as_ptr().add(1);
            let answer = PyObject_Vectorcall(self.callable.as_ptr(), first, count, std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, answer)
        };
        result.map(drop)
    }
}

/// The event that handlers are called for.
struct Subject<'a> {
    shared: &'a Arc<Shared>,
    kind: &'a Kind,
    event: Event<'a>,
    index: usize,
}

impl Argument {
    #[inline]
    fn object<'py>(&self, py: Python<'py>, subject: &Subject<'_>) -> PyResult<Bound<'py, PyAny>> {
        let event = &subject.event;
        Ok(match self {
            Self::Field(index) => {
                let Some(field) = subject.kind.fields.get(*index) else { return Ok(py.None().into_bound(py)) };
                subject.shared.context().field(py, field, event)?
            }
            Self::Event => event_object(py, subject.shared, subject.index)?,
            Self::Id => event.id().into_pyobject(py)?.into_any(),
            Self::Probe => subject.kind.probe.object(py).into_any(),
            Self::Time => event.time().into_pyobject(py)?.into_any(),
            Self::Cpu => event.cpu.into_pyobject(py)?.into_any(),
            Self::Constant(constant) => constant.bind(py).clone(),
        })
    }
}

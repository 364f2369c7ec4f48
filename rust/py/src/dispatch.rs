//! Calls Python handlers for the events of a batch, in order. In: a batch, and who gets what of which events. Out: calls.
//!
//! A handler's arguments are made when its event is looked at, and its call may wait for some more ([`Calls`]). What is
//! seen of that is nothing: arguments are numbers, strings and stacks, which tell nobody that they are made. An event may
//! be of a script's class, whose own code would run before its turn; so it is made right before its handler is called.

use std::collections::HashMap;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use spile_core::event::Event;

use crate::batch::{Batch, Shared, event_object};
use crate::calls::{Callers, Calls, MOST};
use crate::integers::Integers;
use crate::kinds::Kind;

/// Events between two looks at pending signals.
const SIGNAL_INTERVAL: usize = 1024;
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
    /// Where the integers of its arguments begin.
    integers: usize,
    arguments: Vec<Argument>,
    takes_event: bool,
}

#[pyclass(frozen, module = "spile._native")]
pub struct Dispatcher {
    by_id: Vec<Vec<Handler>>,
    callers: Callers,
    /// Of each argument of each handler; none while a thread dispatches.
    integers: Mutex<Vec<Integers>>,
}

type Plans<'py> = HashMap<u16, Vec<(Py<PyAny>, Vec<Bound<'py, PyAny>>)>>;

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(plans: Plans<'_>) -> PyResult<Self> {
        let mut by_id: Vec<Vec<Handler>> = Vec::new();
        let mut integers = 0;
        for (id, handlers) in plans {
            let id = usize::from(id);
            if by_id.len() <= id {
                by_id.resize_with(id + 1, Vec::new);
            }
            for (callable, arguments) in handlers {
                let arguments = arguments.iter().map(argument).collect::<PyResult<Vec<_>>>()?;
                if arguments.len() > MOST {
                    return Err(PyValueError::new_err(format!("a handler with more than {MOST} parameters")));
                }
                let takes_event = arguments.iter().any(|argument| matches!(argument, Argument::Event));
                let count = arguments.len();
                by_id[id].push(Handler { callable, integers, arguments, takes_event });
                integers += count;
            }
        }
        Ok(Self { by_id, callers: Callers::new(), integers: Mutex::default() })
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
        let mut integers = std::mem::take(&mut *self.integers.lock().unwrap_or_else(PoisonError::into_inner));
        let count = self.by_id.iter().flatten().map(|handler| handler.arguments.len()).sum();
        integers.resize_with(count, Integers::default);
        let outcome = self.call_all(
            py,
            &batch.get().shared,
            start..limit.map_or(usize::MAX, |limit| start.saturating_add(limit)),
            &mut integers,
        );
        *self.integers.lock().unwrap_or_else(PoisonError::into_inner) = integers;
        outcome
    }
}

impl Dispatcher {
    /// Calls the handlers of the events of a range; gives the index behind the last one.
    fn call_all(
        &self,
        py: Python<'_>,
        shared: &Arc<Shared>,
        range: Range<usize>,
        integers: &mut [Integers],
    ) -> PyResult<usize> {
        let (start, end) = (range.start, range.end.min(shared.buffer.len()));
        let mut calls = Calls::new(py, &self.callers);
        for index in start..end {
            let Some(event) = shared.buffer.event(index) else { break };
            let Some(handlers) = self.by_id.get(usize::from(event.id())) else { continue };
            let Some(kind) = shared.kinds.get(event.id()) else { continue };
            for handler in handlers {
                handler.push(py, &mut calls, &Subject { shared, kind, event, index }, integers)?;
            }
            if (index - start) % SIGNAL_INTERVAL == SIGNAL_INTERVAL - 1 {
                calls.make()?;
                py.check_signals()?;
            }
        }
        calls.make()?;
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
    fn push<'a>(
        &'a self,
        py: Python<'_>,
        calls: &mut Calls<'a, '_>,
        subject: &Subject<'_>,
        integers: &mut [Integers],
    ) -> PyResult<()> {
        let count = self.arguments.len();
        let Some(integers) = integers.get_mut(self.integers..self.integers + count) else { return Ok(()) };
        let argument = |place: usize| self.arguments[place].pointer(py, subject, &mut integers[place]);
        if !self.takes_event {
            return calls.push(&self.callable, count, argument);
        }
        calls.make()?;
        calls.push(&self.callable, count, argument)?;
        calls.make()
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
    /// A new reference, or null with an exception set.
    #[inline]
    fn pointer(&self, py: Python<'_>, subject: &Subject<'_>, integers: &mut Integers) -> *mut ffi::PyObject {
        if let Self::Field(index) = self
            && let Some(field) = subject.kind.fields.get(*index)
            && let Some(value) = field.plain.and_then(|place| subject.event.integer(place))
        {
            return integers.get(py, value);
        }
        match self.object(py, subject) {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }

    #[inline(never)]
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

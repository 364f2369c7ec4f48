//! Calls Python handlers for the events of a batch, in order. In: a batch, and who gets what of which events. Out: calls.
//!
//! A handler's arguments are made when its event is looked at, and its call may wait for some more ([`Calls`]). What is
//! seen of that is nothing: arguments are numbers, strings and stacks, which tell nobody that they are made. An event may
//! be of a script's class, whose own code would run before its turn; so it is made right before its handler is called.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use spile_core::event::IntegerColumn;

use crate::batch::{Batch, Shared, event_object};
use crate::calls::{Callers, Calls, MOST};
use crate::integers::{Integers, Place, release};
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
    arguments: Vec<Argument>,
    takes_event: bool,
}

#[pyclass(frozen, module = "spile._native")]
pub struct Dispatcher {
    by_id: Vec<Vec<Handler>>,
    callers: Callers,
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
                if arguments.len() > MOST {
                    return Err(PyValueError::new_err(format!("a handler with more than {MOST} parameters")));
                }
                let takes_event = arguments.iter().any(|argument| matches!(argument, Argument::Event));
                by_id[id].push(Handler { callable, arguments, takes_event });
            }
        }
        Ok(Self { by_id, callers: Callers::new() })
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
        let end = limit.map_or(usize::MAX, |limit| start.saturating_add(limit));
        self.call_all(py, &batch.get().shared, start..end)
    }
}

impl Dispatcher {
    /// Calls the handlers of the events of a range; gives the index behind the last one.
    fn call_all(&self, py: Python<'_>, shared: &Arc<Shared>, range: Range<usize>) -> PyResult<usize> {
        let (start, end) = (range.start, range.end.min(shared.buffer.len()));
        let mut calls = Calls::new(py, &self.callers);
        let mut by_id: Vec<Option<Vec<Call<'_>>>> = Vec::new();
        by_id.resize_with(self.by_id.len(), || None);
        for index in start..end {
            let Some((id, record)) = shared.buffer.id_and_record(index) else { break };
            let id = usize::from(id);
            let (Some(known), Some(handlers)) = (by_id.get_mut(id), self.by_id.get(id)) else { continue };
            let of_kind = || shared.kinds.get(id as u16).map_or_else(Vec::new, |kind| Call::all(handlers, kind));
            for call in known.get_or_insert_with(of_kind) {
                call.push(py, &mut calls, Subject { shared, record, index })?;
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

/// A handler's call for the events of one kind.
struct Call<'a> {
    handler: &'a Handler,
    kind: &'a Kind,
    arguments: Vec<(&'a Argument, Option<IntegerColumn>)>,
}

/// The event that handlers are called for.
#[derive(Clone, Copy)]
struct Subject<'a> {
    shared: &'a Arc<Shared>,
    record: &'a [u8],
    index: usize,
}

impl<'a> Call<'a> {
    #[cold]
    fn all(handlers: &'a [Handler], kind: &'a Kind) -> Vec<Self> {
        handlers.iter().map(|handler| Self::new(handler, kind)).collect()
    }

    fn new(handler: &'a Handler, kind: &'a Kind) -> Self {
        let integer = |argument: &Argument| match argument {
            Argument::Field(index) => kind.fields.get(*index)?.integer,
            Argument::Time => Some(IntegerColumn::TIME),
            _ => None,
        };
        let arguments = handler.arguments.iter().map(|argument| (argument, integer(argument))).collect();
        Self { handler, kind, arguments }
    }

    #[inline]
    fn push(&self, py: Python<'_>, calls: &mut Calls<'a, '_>, subject: Subject<'_>) -> PyResult<()> {
        let put = |(argument, column): &(&Argument, Option<IntegerColumn>), integers: &Integers, place: &mut Place| {
            match column.and_then(|column| column.value(subject.record)) {
                // SAFETY: `Calls` gives places that it has cleared.
                Some(value) => unsafe { integers.put(place, value) },
                None => argument.put(py, self.kind, subject, place),
            }
        };
        let takes_event = self.handler.takes_event;
        if takes_event {
            calls.make()?;
        }
        calls.push(&self.handler.callable, &self.arguments, put)?;
        if takes_event { calls.make() } else { Ok(()) }
    }
}

impl Argument {
    /// Makes a cleared place hold it, or null with an exception set.
    #[inline(never)]
    fn put(&self, py: Python<'_>, kind: &Kind, subject: Subject<'_>, place: &mut Place) {
        // SAFETY: what a place has is owned.
        unsafe { release(place) };
        match self.object(py, kind, subject) {
            Ok(object) => *place = object.into_ptr(),
            Err(error) => error.restore(py),
        }
    }

    fn object<'py>(&self, py: Python<'py>, kind: &Kind, subject: Subject<'_>) -> PyResult<Bound<'py, PyAny>> {
        let Subject { shared, index, .. } = subject;
        Ok(match self {
            Self::Field(field) => {
                let Some(field) = kind.fields.get(*field) else { return Ok(py.None().into_bound(py)) };
                shared.context().field(py, field, &shared.event(index)?)?
            }
            Self::Event => event_object(py, shared, index)?,
            Self::Id => kind.id.into_pyobject(py)?.into_any(),
            Self::Probe => kind.probe.object(py).into_any(),
            Self::Time => shared.event(index)?.time().into_pyobject(py)?.into_any(),
            Self::Cpu => shared.event(index)?.cpu.into_pyobject(py)?.into_any(),
            Self::Constant(constant) => constant.bind(py).clone(),
        })
    }
}

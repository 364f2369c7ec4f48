//! Tables, as Python reads them.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use spile_core::aggregate::{Accumulated, Part, Row, Table};
use spile_core::stack::StackTable;

use crate::kinds::Kinds;
use crate::value::Context;

#[pyclass(frozen, module = "spile._native")]
pub struct NativeTable {
    pub table: Arc<Table>,
    pub kinds: Arc<Kinds>,
    pub stacks: Arc<StackTable>,
    /// How many parts a key has.
    pub parts: usize,
    /// For each of them, and behind them for the value that is accumulated, the names of its values.
    pub names: Vec<Option<Py<PyAny>>>,
}

type Entry<'py> = (Bound<'py, PyTuple>, Bound<'py, PyAny>);

impl NativeTable {
    fn context(&self) -> Context<'_> {
        Context { kinds: &self.kinds, stacks: &self.stacks }
    }

    fn names_of(&self, part: usize) -> Option<&Py<PyAny>> {
        self.names.get(part)?.as_ref()
    }

    /// What a script gave as that part of a key; a name that stands for a number as that number.
    fn number_of<'py>(&self, part: usize, given: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.names_of(part) {
            Some(names) if given.is_instance_of::<PyString>() => {
                let numbers = names.bind(given.py()).getattr("numbers")?;
                numbers.call_method1("get", (&given, &given))
            }
            _ => Ok(given),
        }
    }

    fn entries<'py>(&self, py: Python<'py>, rows: Vec<Row>) -> PyResult<Vec<Entry<'py>>> {
        let context = self.context();
        let entry = |(key, accumulated): Row| {
            let part = |(index, part)| context.named_part(py, part, self.names_of(index));
            let parts = key.iter().enumerate().map(part).collect::<PyResult<Vec<_>>>()?;
            Ok((PyTuple::new(py, parts)?, context.accumulated(py, accumulated, self.names_of(self.parts))?))
        };
        rows.into_iter().map(entry).collect()
    }
}

#[pymethods]
impl NativeTable {
    #[getter]
    fn total(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.table.total())
    }

    #[getter]
    fn faulted(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.table.faulted())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.table.len())
    }

    #[pyo3(signature = (key, /))]
    fn get<'py>(&self, key: &Bound<'py, PyTuple>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let mut parts = Vec::with_capacity(key.len());
        for (index, object) in key.iter().enumerate() {
            let Some(part) = self.context().to_part(&self.number_of(index, object)?)? else { return Ok(None) };
            parts.push(part);
        }
        let found = py.detach(|| self.look_up(parts));
        found.map(|found| self.context().accumulated(py, found, self.names_of(self.parts))).transpose()
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<Entry<'py>>> {
        let rows = py.detach(|| self.table.snapshot());
        self.entries(py, rows)
    }

    fn top<'py>(&self, py: Python<'py>, n: usize) -> PyResult<Vec<Entry<'py>>> {
        let rows = py.detach(|| self.table.top(n));
        self.entries(py, rows)
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<Entry<'py>>> {
        let rows = py.detach(|| self.table.take());
        self.entries(py, rows)
    }
}

impl NativeTable {
    /// A word may be meant as a name of an event or as a string that reads the same.
    fn look_up(&self, parts: Vec<Part>) -> Option<Accumulated> {
        let found = self.table.get(&parts);
        if found.is_some() || !parts.iter().any(|part| matches!(part, Part::Name(_))) {
            return found;
        }
        let as_text = |part| match part {
            Part::Name(id) => {
                let name = self.kinds.get(id).map_or("", |kind| kind.name.text.as_str());
                Part::Text(name.as_bytes().into())
            }
            other => other,
        };
        self.table.get(&parts.into_iter().map(as_text).collect::<Vec<_>>())
    }
}

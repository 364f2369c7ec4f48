//! Columns of the events of one kind, converted when they are asked for.

use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyString};

use crate::batch::Shared;
use crate::kinds::Kind;

#[pyclass(frozen, mapping, module = "spile._native")]
pub struct Columns {
    shared: Arc<Shared>,
    id: u16,
    indexes: Vec<u32>,
}

impl Columns {
    /// Of those events of the batch.
    pub fn new(shared: Arc<Shared>, id: u16, indexes: Vec<u32>) -> Self {
        Self { shared, id, indexes }
    }

    fn kind(&self) -> PyResult<&Kind> {
        self.shared.kinds.get(self.id).ok_or_else(|| PyKeyError::new_err(self.id))
    }

    fn events(&self) -> impl Iterator<Item = spile_core::event::Event<'_>> {
        self.indexes.iter().filter_map(|index| self.shared.buffer.event(*index as usize))
    }
}

#[pymethods]
impl Columns {
    #[getter]
    fn time(&self) -> Vec<u64> {
        self.events().map(|event| event.time()).collect()
    }

    #[getter]
    fn cpu(&self) -> Vec<u16> {
        self.events().map(|event| event.cpu).collect()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyList>> {
        let Some(field) = self.kind()?.field(name)? else {
            return Err(PyKeyError::new_err(name.clone().unbind()));
        };
        let context = self.shared.context();
        let list = PyList::empty(py);
        for event in self.events() {
            list.append(context.field(py, field, &event)?)?;
        }
        Ok(list)
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(name) = name.cast::<PyString>() else { return Ok(false) };
        Ok(self.kind()?.field(name)?.is_some())
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.kind()?.fields.iter().map(|field| field.name.object(py)))
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyString>, Bound<'py, PyList>)>> {
        let names = self.kind()?.fields.iter().map(|field| field.name.object(py));
        names.map(|name| Ok((name.clone(), self.__getitem__(py, &name)?))).collect()
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyList>>> {
        Ok(self.items(py)?.into_iter().map(|(_, column)| column).collect())
    }

    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyString>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.kind()?.field(key)?.is_none() {
            return Ok(default);
        }
        Ok(Some(self.__getitem__(key.py(), key)?.into_any()))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.try_iter()
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.kind()?.fields.len())
    }

    fn __repr__(&self) -> PyResult<String> {
        let kind = self.kind()?;
        let names: Vec<&str> = kind.fields.iter().map(|field| field.name.text.as_str()).collect();
        Ok(format!("<Columns of {} {} events: {}>", self.indexes.len(), kind.name.text, names.join(", ")))
    }
}

//! Columns of the events of one kind, converted when they are asked for: to lists of objects, to arrays of integers,
//! or to Arrow's.

use std::sync::Arc;

use arrow_array::RecordBatch;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyIterator, PyList, PyMemoryView, PyString};
use spile_core::columns::Integers;

use crate::arrow;
use crate::batch::Shared;
use crate::buffer::Array;
use crate::kinds::{Field, Kind};

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

    fn integers(&self, field: &Field) -> PyResult<Integers> {
        let integers = field.place.and_then(|place| self.shared.buffer.integers(&self.indexes, place));
        integers.ok_or_else(|| {
            let name = &field.name.text;
            PyTypeError::new_err(format!("{name} holds no integers, so it is no array; columns[{name:?}] is a list"))
        })
    }

    fn records(&self) -> PyResult<RecordBatch> {
        arrow::batch(&self.shared, self.kind()?, &self.indexes)
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

    fn buffer<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyMemoryView>> {
        let array = match (self.kind()?.field(name)?, name.to_str()?) {
            (Some(field), _) => self.integers(field)?.into(),
            (None, "time") => Array::new(self.events().flat_map(|event| event.time().to_le_bytes()).collect(), c"Q", 8),
            (None, "cpu") => Array::new(self.events().flat_map(|event| event.cpu.to_le_bytes()).collect(), c"H", 2),
            (None, _) => return Err(PyKeyError::new_err(name.clone().unbind())),
        };
        array.view(name.py())
    }

    fn valid<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        let Some(field) = self.kind()?.field(name)? else {
            return Err(PyKeyError::new_err(name.clone().unbind()));
        };
        self.integers(field)?.valid.map(|valid| Array::new(valid, c"?", 1).view(name.py())).transpose()
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

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // A producer may leave a wish for other types to whoever has it.
        let _ = requested_schema;
        arrow::array(py, self.records()?)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        arrow::stream(py, self.records()?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let nothing = Self::new(Arc::clone(&self.shared), self.id, Vec::new());
        arrow::schema(py, &nothing.records()?)
    }

    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arrow::framed(slf, "to_arrow")
    }

    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arrow::framed(slf, "to_polars")
    }

    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arrow::framed(slf, "to_pandas")
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

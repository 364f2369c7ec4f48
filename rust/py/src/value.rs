//! Values, as Python's own.

use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyString, PyType};
use spile_core::aggregate::Part;
use spile_core::event::{Event, Value};
use spile_core::spec::StackSpace;
use spile_core::stack::StackTable;

use crate::kinds::{Field, Kinds};
use crate::stack::Stack;

/// What values need to become objects.
pub struct Context<'a> {
    /// Names of events.
    pub kinds: &'a Kinds,
    /// Frames of stacks.
    pub stacks: &'a Arc<StackTable>,
}

impl Context<'_> {
    /// A field of an event.
    #[inline]
    pub fn field<'py>(&self, py: Python<'py>, field: &Field, event: &Event<'_>) -> PyResult<Bound<'py, PyAny>> {
        match (&field.names, field.place.map_or(Value::Null, |place| event.at(place))) {
            (None, value) => self.value(py, value),
            (Some(names), Value::Unsigned(value)) => names.bind(py).get_item(value),
            (Some(names), Value::Signed(value)) => names.bind(py).get_item(value),
            (Some(_), value) => self.value(py, value),
        }
    }

    /// A value without a name.
    #[inline]
    fn value<'py>(&self, py: Python<'py>, value: Value<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match value {
            Value::Null => py.None().into_bound(py),
            Value::Unsigned(value) => match i64::try_from(value) {
                // A `long`'s way to an integer is shorter for the small ones, which nearly all are.
                Ok(value) => value.into_pyobject(py)?.into_any(),
                Err(_) => value.into_pyobject(py)?.into_any(),
            },
            Value::Signed(value) => value.into_pyobject(py)?.into_any(),
            Value::String { bytes, cut: false } => text(py, bytes)?,
            Value::String { bytes, cut: true } => cut_class(py)?.call1((text(py, bytes)?,))?,
            Value::Name(id) => self.name(py, id),
            Value::Stack { hash, space } => self.stack(py, hash, space)?,
        })
    }

    fn part<'py>(&self, py: Python<'py>, part: &Part) -> PyResult<Bound<'py, PyAny>> {
        Ok(match part {
            Part::Unsigned(value) => value.into_pyobject(py)?.into_any(),
            Part::Negative(value) => value.into_pyobject(py)?.into_any(),
            Part::Text(bytes) => text(py, bytes)?,
            Part::Name(id) => self.name(py, *id),
            Part::KernelStack(hash) => self.stack(py, *hash, StackSpace::Kernel)?,
            Part::UserStack(hash) => self.stack(py, *hash, StackSpace::User)?,
        })
    }

    /// A part of a key, whose values may have names.
    pub fn named_part<'py>(
        &self,
        py: Python<'py>,
        part: &Part,
        names: Option<&Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let part = self.part(py, part)?;
        match names {
            Some(names) if part.is_instance_of::<PyInt>() => names.bind(py).get_item(part),
            _ => Ok(part),
        }
    }

    /// What a script gave as a part of a key; none for what can't be one.
    pub fn to_part(&self, object: &Bound<'_, PyAny>) -> PyResult<Option<Part>> {
        if let Ok(stack) = object.cast::<Stack>() {
            return Ok(Some(stack.get().part()));
        }
        if let Ok(string) = object.cast::<PyString>() {
            let bytes = string.call_method1("encode", ("utf-8", "surrogateescape"))?.extract::<Vec<u8>>()?;
            let named = self.kinds.iter().find(|kind| kind.name.text.as_bytes() == bytes);
            // Whether the column holds names or strings is the table's to know; a name comes first.
            return Ok(Some(named.map_or(Part::Text(bytes.into()), |kind| Part::Name(kind.id))));
        }
        if let Ok(value) = object.extract::<u64>() {
            return Ok(Some(Part::Unsigned(value)));
        }
        Ok(object.extract::<i64>().ok().map(Part::Negative))
    }

    fn name<'py>(&self, py: Python<'py>, id: u16) -> Bound<'py, PyAny> {
        match self.kinds.name(id) {
            Some(name) => name.object(py).into_any(),
            None => py.None().into_bound(py),
        }
    }

    fn stack<'py>(&self, py: Python<'py>, hash: u64, space: StackSpace) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, Stack::new(Arc::clone(self.stacks), hash, space))?.into_any())
    }
}

/// Bytes as Python's file names have them: UTF-8, with surrogates for what isn't.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(PyString::new(py, text).into_any());
    }
    let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: the bytes are alive and as long as said, the handler's name ends with a NUL, and the answer is a new
    // reference, or null with an exception set.
    unsafe {
        let object = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), length, c"surrogateescape".as_ptr());
        Bound::from_owned_ptr_or_err(py, object)
    }
}

/// The class of strings that were longer than their limit.
fn cut_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "spile.strings", "CutStr")
}

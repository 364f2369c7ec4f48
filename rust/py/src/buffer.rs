//! Arrays that Python looks into without a copy. In: bytes, and what they are. Out: a `memoryview` of them, which keeps them.

use std::ffi::{CStr, c_int};
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use spile_core::columns::Integers;

/// Values of one size, read-only.
#[pyclass(frozen, module = "spile._native")]
pub struct Array {
    bytes: Vec<u8>,
    /// As `struct` spells it.
    format: &'static CStr,
    size: isize,
    length: isize,
}

impl Array {
    /// Of values of so many bytes each.
    pub fn new(bytes: Vec<u8>, format: &'static CStr, size: u8) -> Self {
        let length = (bytes.len() / usize::from(size.max(1))).cast_signed();
        Self { bytes, format, size: isize::from(size), length }
    }

    /// For Python.
    pub fn view(self, py: Python<'_>) -> PyResult<Bound<'_, PyMemoryView>> {
        PyMemoryView::from(Bound::new(py, self)?.as_any())
    }
}

impl From<Integers> for Array {
    fn from(integers: Integers) -> Self {
        let Integers { size, signed, bytes, .. } = integers;
        let format = match (size, signed) {
            (1, false) => c"B",
            (1, true) => c"b",
            (2, false) => c"H",
            (2, true) => c"h",
            (4, false) => c"I",
            (4, true) => c"i",
            (_, false) => c"Q",
            (_, true) => c"q",
        };
        Self::new(bytes, format, size)
    }
}

#[pymethods]
impl Array {
    // SAFETY: whoever calls it gives a view to fill in, or null.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let asks = |what: c_int| flags & what == what;
        if view.is_null() || asks(ffi::PyBUF_WRITABLE) {
            return Err(PyBufferError::new_err("events are read-only"));
        }
        let array = slf.get();
        let filled = ffi::Py_buffer {
            buf: array.bytes.as_ptr().cast_mut().cast(),
            obj: slf.clone().into_any().into_ptr(),
            len: array.size * array.length,
            itemsize: array.size,
            readonly: 1,
            ndim: 1,
            format: if asks(ffi::PyBUF_FORMAT) { array.format.as_ptr().cast_mut() } else { ptr::null_mut() },
            shape: if asks(ffi::PyBUF_ND) { (&raw const array.length).cast_mut() } else { ptr::null_mut() },
            strides: if asks(ffi::PyBUF_STRIDES) { (&raw const array.size).cast_mut() } else { ptr::null_mut() },
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
        };
        // SAFETY: it is not null, so it is there to be filled in. What it points to lives and stays as it is as long as
        // the object whose reference it gets.
        unsafe { view.write(filled) };
        Ok(())
    }
}

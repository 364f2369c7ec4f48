//! Errors, in one place and one match: what Rust says, as the exceptions of `spile.errors`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyTuple};
use spile_core::Error;

/// The Python exception for an error.
pub fn raised(error: Error) -> PyErr {
    Python::attach(|py| exception(py, error).unwrap_or_else(|failure| failure))
}

fn exception(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let errors = match &error {
        Error::Several { errors } => errors.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let text = error.to_string();
    let (name, arguments) = match outline(error) {
        Error::Spec { path, message } => {
            let path = (!path.is_empty()).then_some(path);
            ("SpecError", (message, path).into_pyobject(py)?)
        }
        Error::ProbeNotFound { message } => ("ProbeNotFound", (message,).into_pyobject(py)?),
        Error::FieldNotFound { message } => ("FieldNotFound", (message,).into_pyobject(py)?),
        Error::Unsupported { message } => ("Unsupported", (message,).into_pyobject(py)?),
        Error::Privilege { message } => ("PrivilegeError", (message,).into_pyobject(py)?),
        Error::Engine { message, log } => ("EngineError", (message, log).into_pyobject(py)?),
        Error::Stream { offset, message } => ("StreamError", (message, offset).into_pyobject(py)?),
        Error::Recording { offset, message } => ("RecordingError", (message, offset).into_pyobject(py)?),
        Error::Several { .. } => return Ok(PyRuntimeError::new_err(text)),
    };
    let options =
        if errors.is_empty() { None } else { Some([("errors", PyTuple::new(py, errors)?)].into_py_dict(py)?) };
    let class = py.import("spile.errors")?.getattr(name)?;
    Ok(PyErr::from_value(class.call(arguments, options.as_ref())?))
}

/// Several errors as one: of their own kind if they are all of one, with everything that they say.
fn outline(error: Error) -> Error {
    let Error::Several { errors } = error else { return error };
    let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let is_one_kind = |first: &Error| errors.iter().all(|e| std::mem::discriminant(e) == std::mem::discriminant(first));
    match errors.first() {
        Some(first) if is_one_kind(first) => match first {
            Error::ProbeNotFound { .. } => Error::ProbeNotFound { message },
            Error::FieldNotFound { .. } => Error::FieldNotFound { message },
            Error::Unsupported { .. } => Error::Unsupported { message },
            Error::Privilege { .. } => Error::Privilege { message },
            _ => Error::spec("", message),
        },
        _ => Error::spec("", message),
    }
}

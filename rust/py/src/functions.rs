//! Functions that belong to no session.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use spile_bpf::{catalog, features};
use spile_core::spec::SessionSpec;

use crate::error::raised;

/// The choices that are most like `word`, best first, at most three.
#[pyfunction]
pub fn nearest(word: &str, choices: Vec<String>) -> Vec<String> {
    let near = spile_bpf::kernel::nearest::nearest(word, choices.iter().map(String::as_str));
    near.into_iter().take(3).map(str::to_owned).collect()
}

/// The JSON schema of the spec.
#[pyfunction]
pub fn spec_schema() -> PyResult<String> {
    serde_json::to_string_pretty(&SessionSpec::json_schema())
        .map_err(|error| raised(spile_core::Error::engine(error.to_string())))
}

/// Raises SpecError, with the path, for a spec that no engine would take.
#[pyfunction]
pub fn verify_spec(spec: &str) -> PyResult<()> {
    SessionSpec::from_json(spec).map(drop).map_err(raised)
}

/// Kind and name of every probe that matches the shell pattern.
#[pyfunction]
#[pyo3(signature = (pattern = "*"))]
pub fn list_probes(py: Python<'_>, pattern: &str) -> PyResult<Vec<(String, String)>> {
    py.detach(|| catalog::list(pattern)).map_err(raised)
}

/// Name and type of each of the probe's own fields.
#[pyfunction]
pub fn probe_fields(py: Python<'_>, kind: &str, name: &str) -> PyResult<Vec<(String, String)>> {
    py.detach(|| catalog::fields(kind, name)).map_err(raised)
}

/// What this machine can do, each thing tried.
#[pyfunction]
pub fn doctor(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let features = py.detach(features::probe);
    let row = |feature: features::Feature| {
        let dict = PyDict::new(py);
        dict.set_item("feature", feature.feature)?;
        dict.set_item("works", feature.works)?;
        dict.set_item("detail", feature.detail)?;
        dict.set_item("cost", feature.cost)?;
        Ok(dict)
    };
    features.into_iter().map(row).collect()
}

//! Functions that belong to no session.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use spile_bpf::{catalog, features};
use spile_core::report;
use spile_core::spec::SessionSpec;
use spile_core::symbol::KernelSymbolizer;

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

/// Kernel addresses as `symbol+0x12 [module]`.
#[pyfunction]
pub fn symbolize(py: Python<'_>, addresses: Vec<u64>) -> Vec<String> {
    let symbols = py.detach(|| KernelSymbolizer::shared().symbolize(&addresses));
    symbols.iter().zip(&addresses).map(|(symbol, address)| symbol.spell(*address)).collect()
}

/// An SVG from folded stacks and their counts.
#[pyfunction]
#[pyo3(signature = (folded, title, count_name = "events"))]
pub fn flamegraph(py: Python<'_>, folded: Vec<(String, u64)>, title: &str, count_name: &str) -> PyResult<String> {
    let stacks = folded.iter().map(|(stack, count)| (stack.as_str(), *count));
    py.detach(|| report::flamegraph(stacks, title, count_name)).map_err(raised)
}

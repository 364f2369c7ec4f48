//! What was accumulated under a key, in the plain forms that Python makes its objects of, and what it asks about them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use spile_core::aggregate::bin::Bin;
use spile_core::aggregate::{Accumulated, Heavy, Part, distinct, top};

use crate::value::Context;

impl Context<'_> {
    /// The plain form of what was accumulated; `names` are those of a list's values.
    pub fn accumulated<'py>(
        &self,
        py: Python<'py>,
        accumulated: Accumulated,
        names: Option<&Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(match accumulated {
            Accumulated::Count(hits) => hits.into_pyobject(py)?.into_any(),
            Accumulated::Sum(value) | Accumulated::Least(value) | Accumulated::Greatest(value) => {
                value.into_pyobject(py)?.into_any()
            }
            Accumulated::Mean { hits, sum } => (hits, sum).into_pyobject(py)?.into_any(),
            Accumulated::Stats { hits, sum, least, greatest } => {
                (hits, sum, least, greatest).into_pyobject(py)?.into_any()
            }
            Accumulated::Bins(bins) => {
                let dict = PyDict::new(py);
                bins.into_iter().try_for_each(|(bin, hits)| dict.set_item(bin, hits))?;
                dict.into_any()
            }
            Accumulated::Top { hits, items } => {
                let item = |heavy: Heavy| Ok((self.named_part(py, &heavy.item, names)?, heavy.hits, heavy.error));
                let items = items.into_iter().map(item).collect::<PyResult<Vec<_>>>()?;
                (hits, items).into_pyobject(py)?.into_any()
            }
            Accumulated::Registers(ranks) => PyBytes::new(py, &ranks).into_any(),
        })
    }
}

fn bin_of(kind: &str, low: i64, high: i64, step: u64) -> PyResult<Bin> {
    match kind {
        "hist" => Ok(Bin::Log2),
        "lhist" if step > 0 => Ok(Bin::Linear { low, high, step }),
        "lhist" => Err(PyValueError::new_err("step=0: a bin of a linear histogram is at least 1 wide")),
        "quantiles" => Ok(Bin::LogLinear),
        _ => Err(PyValueError::new_err(format!("{kind:?} has no bins: hist, lhist and quantiles have"))),
    }
}

/// The least and the greatest value of a histogram's bin.
#[pyfunction]
#[pyo3(signature = (kind, bin, low = 0, high = 0, step = 1))]
pub fn bin_bounds(kind: &str, bin: i64, low: i64, high: i64, step: u64) -> PyResult<(i128, i128)> {
    let values = bin_of(kind, low, high, step)?.values(bin);
    Ok((*values.start(), *values.end()))
}

/// The bin of a value.
#[pyfunction]
#[pyo3(signature = (kind, value, low = 0, high = 0, step = 1))]
pub fn bin_number(kind: &str, value: i128, low: i64, high: i64, step: u64) -> PyResult<i64> {
    Ok(bin_of(kind, low, high, step)?.of(value))
}

/// How many different values the registers of `distinct` have seen.
#[pyfunction]
pub fn estimate_distinct(registers: &[u8]) -> f64 {
    distinct::estimate(registers)
}

/// The registers of two sets' union.
#[pyfunction]
pub fn merge_distinct<'py>(py: Python<'py>, one: &[u8], other: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let of = || format!("registers are {} bytes, not {} and {}", distinct::REGISTERS, one.len(), other.len());
    let merged = distinct::merged(one, other).ok_or_else(|| PyValueError::new_err(of()))?;
    Ok(PyBytes::new(py, &merged))
}

type List<'py> = (u64, Vec<(Bound<'py, PyAny>, u64, u64)>);

/// The list of two lists' events. Values are told apart as a dict tells them.
#[pyfunction]
pub fn merge_top<'py>(py: Python<'py>, size: usize, one: List<'py>, other: List<'py>) -> PyResult<List<'py>> {
    let (numbers, mut objects) = (PyDict::new(py), Vec::new());
    let mut heavy = |(object, hits, error): (Bound<'py, PyAny>, u64, u64)| {
        let number = match numbers.get_item(&object)? {
            Some(number) => number.extract()?,
            None => {
                numbers.set_item(&object, objects.len())?;
                objects.push(object);
                objects.len() as u64 - 1
            }
        };
        Ok(Heavy { item: Part::Unsigned(number), hits, error })
    };
    let (hits, mut lists) = (one.0.saturating_add(other.0), Vec::new());
    for (hits, items) in [one, other] {
        lists.push((hits, items.into_iter().map(&mut heavy).collect::<PyResult<Vec<_>>>()?));
    }
    let merged = top::merged(size, [(lists[0].0, &lists[0].1), (lists[1].0, &lists[1].1)]);
    let item = |Heavy { item, hits, error }| match item {
        Part::Unsigned(number) => objects.get(number as usize).map(|object| (object.clone(), hits, error)),
        _ => None,
    };
    Ok((hits, merged.into_iter().filter_map(item).collect()))
}

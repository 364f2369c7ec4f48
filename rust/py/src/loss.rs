//! The ledger's rows and the budget's steps, as Python has them: dicts of numbers, tuples.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use spile_core::budget::Outcome;
use spile_core::loss::Row;
use spile_core::watch::Step;

/// A row.
pub fn row<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("probe", row.probe)?;
    dict.set_item("target", row.target)?;
    let counts = [
        ("hits", row.hits),
        ("filtered", row.filtered),
        ("delivered", row.delivered),
        ("tabled", row.tabled),
        ("ring_full", row.ring_full),
        ("re_entered", row.re_entered),
        ("missed", row.missed),
        ("faulted", row.faulted),
        ("transport_lost", row.transport_lost),
        ("dropped", row.dropped),
        ("unsampled", row.unsampled),
        ("budget_sampled", row.budget_sampled),
        ("budget_counted", row.budget_counted),
        ("sampled_out", row.sampled_out),
        ("unmatched", row.unmatched),
        ("opened", row.opened),
        ("already_open", row.already_open),
        ("open_full", row.open_full),
        ("matched", row.matched),
        ("overwritten", row.overwritten),
        ("left_open", row.left_open),
        ("stack_failed", row.stack_failed),
        ("budget_stacks", row.budget_stacks),
        ("stack_definition_lost", row.stack_definition_lost),
        ("table_lost", row.table_lost),
        ("late", row.late),
    ];
    for (name, count) in counts {
        dict.set_item(name, count)?;
    }
    Ok(dict)
}

/// A step: when, what it was, of how many events one is sent since, whether stacks are empty since, the share before.
pub fn step(step: &Step) -> (u64, &'static str, u32, bool, f64) {
    let outcome = match step.outcome {
        Outcome::Shed => "shed",
        Outcome::Back => "back",
        Outcome::Spent => "spent",
    };
    (step.time, outcome, step.level.every(), step.level.is_stackless(), step.share)
}

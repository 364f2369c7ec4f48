//! The extension module `spile._native`: adapters between spile's Rust crates and Python, and no logic.
//!
//! What crosses is a spec (as JSON, once per session), batches, and finished objects. `python/spile/_native.pyi` says
//! what each looks like from the other side.

mod accumulated;
mod arrow;
mod batch;
mod buffer;
mod calls;
mod columns;
mod dispatch;
mod engine;
mod error;
mod event;
mod functions;
mod integers;
mod kinds;
mod loss;
mod recording;
mod stack;
mod systemtap;
mod table;
mod value;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::accumulated::{bin_bounds, bin_number, estimate_distinct, merge_distinct, merge_top};
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::columns::Columns;
    #[pymodule_export]
    use super::dispatch::Dispatcher;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::event::{Event, restore_event};
    #[pymodule_export]
    use super::functions::{
        doctor, flamegraph, list_probes, nearest, probe_fields, spec_schema, symbolize, verify_spec,
    };
    #[pymodule_export]
    use super::recording::Recording;
    #[pymodule_export]
    use super::stack::{Frame, Stack, restore_stack};
    #[pymodule_export]
    use super::table::NativeTable;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        let abc = module.py().import("collections.abc")?;
        for (abstraction, names) in [("Mapping", &["Event", "Columns"][..]), ("Sequence", &["Stack", "Batch"])] {
            for name in names {
                abc.getattr(abstraction)?.call_method1("register", (module.getattr(*name)?,))?;
            }
        }
        Ok(())
    }
}

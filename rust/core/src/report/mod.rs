//! What people look at. In: counted stacks. Out: pictures.

mod flamegraph;

pub use flamegraph::flamegraph;

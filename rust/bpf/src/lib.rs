//! spile-bpf: the embedded engine. A spec becomes bytecode ([`compile`]), the running kernel takes it ([`kernel`]), and
//! [`engine`] puts the two together.

pub mod compile;
#[cfg(feature = "kernel")]
pub mod engine;
#[cfg(feature = "kernel")]
pub mod kernel;

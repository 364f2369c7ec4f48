//! spile-bpf: the embedded engine. A spec becomes bytecode ([`compile`]), the running kernel takes it ([`kernel`]), and
//! [`engine`] puts the two together; [`catalog`] says what there is to probe, and [`features`] what works here.

#[cfg(feature = "kernel")]
pub mod catalog;
pub mod compile;
#[cfg(feature = "kernel")]
pub mod engine;
#[cfg(feature = "kernel")]
pub mod features;
#[cfg(feature = "kernel")]
pub mod kernel;

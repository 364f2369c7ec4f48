//! spile-bpf: the embedded engine. [`compile`] turns a verified spec into BPF bytecode and makes no system call.

pub mod compile;
#[cfg(feature = "kernel")]
pub mod kernel;

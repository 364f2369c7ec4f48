//! spile-core: everything between a kernel's bytes and a script's values that needs neither Python nor BPF.
//!
//! Two roads meet here. A description comes in as [`spec`] and becomes a [`layout`]; records come in through a
//! [`source`], are viewed as [`event::Event`]s, put in order by [`merge`], and end in a [`sink`].

pub mod error;
pub mod layout;
pub mod spec;

pub use error::Error;

//! spile-core: everything between a kernel's bytes and a script's values that needs neither Python nor BPF.
//!
//! Two roads meet here. A description comes in as [`spec`] and becomes a [`layout`]; records come in through a
//! [`source`], are viewed as [`event::Event`]s, put in order by [`merge`], and end in a [`sink`].

pub mod aggregate;
pub mod batch;
pub mod budget;
pub mod collect;
pub mod columns;
pub mod drain;
pub mod error;
pub mod event;
pub mod layout;
pub mod loss;
pub mod merge;
pub mod names;
pub mod pump;
pub mod queue;
pub mod recording;
pub mod report;
pub mod sample;
pub mod sink;
pub mod source;
pub mod spec;
pub mod stack;
pub mod symbol;
pub mod watch;
pub mod words;
mod worker;

pub use error::Error;

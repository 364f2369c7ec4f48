//! What is accumulated over events. In: events and the columns of a key and a value, or rows that a table of limited size
//! kept of some. Out: tables without a limit, which a script reads.
//!
//! The thread that drains updates; the script reads. Both hold a table's lock for a whole turn or a copy, so a read is one
//! consistent view and taking is exact.
//!
//! A table is a [`store`] of [`accumulator`]s by key: [`keyed`] has the keys, [`field`] tells where their parts are, and
//! [`numbers`], [`bins`], [`top`] and [`distinct`] are what is accumulated. [`row`] is what the kernel's tables send,
//! [`tallied`] what a script's do.

mod accumulated;
mod accumulator;
pub mod bin;
mod bins;
pub mod distinct;
mod field;
mod key;
mod keyed;
mod numbers;
pub mod row;
mod store;
mod table;
pub mod tallied;
pub mod top;

pub use accumulated::{Accumulated, Heavy};
pub use key::Part;
pub use table::{Row, Table, TableGuard};

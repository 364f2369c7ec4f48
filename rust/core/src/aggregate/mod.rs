//! What is accumulated over events. In: events and the columns of a key. Out: tables that a script reads.
//!
//! The thread that drains updates; the script reads. Both hold a table's lock for a whole turn or a whole read, so a read
//! is one consistent view and taking is exact.

pub mod bin;
mod counts;
mod key;
pub mod row;
mod table;

pub use key::Part;
pub use table::{Row, Table, TableGuard};

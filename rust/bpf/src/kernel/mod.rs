//! Everything that asks something of the running kernel.
//!
//! In: names, programs that are ready to load, sizes. Out: fields and where they are, maps, programs, links, and the
//! rings that records are read from. All of it goes through [`sys`], the one funnel, which tests replace by a fake.
//! Nothing here knows a spec; [`crate::engine`] puts the pieces together.

pub mod btf;
pub mod clock;
pub mod cpu;
pub mod descriptors;
pub mod fields;
pub mod format;
pub mod function;
pub mod glob;
pub mod link;
pub mod map;
pub mod mapped_ring;
pub mod nearest;
pub mod privilege;
pub mod program;
pub mod ring;
pub mod shared;
pub mod symbols;
pub mod sys;
pub mod tracefs;

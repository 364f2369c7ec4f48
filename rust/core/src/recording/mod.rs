//! Recordings: a session's records in a file, and out of it again.
//!
//! ```text
//! sources ──► merge ──► Recorder (copies each run, or compact records unread) ──► writer's thread ──► blocks in a file
//!                                └──► thread of facts: names of addresses, the ledger each second ──┘
//!
//! file ──► Recording (looks it over once) ──► Replay, a Source ──► merge ──► the same sinks
//! ```
//!
//! What is recorded is what the sources gave, before it is put in order, with marks where a turn ended: the replay's merge
//! takes the same turns, and delivers the same. Each step is a file: `format` (the file's form), `pieces` (what a block
//! of events holds), `head` (what is JSON), `writer`, `recorder` and `facts` on the way in; `blocks` (finding blocks,
//! sound or not), `reader`, `replay` and `resolve` (tables over what was captured) on the way out.
//!
//! Recordings block where the disk is slow: then the rings fill, and the ledger says so. Nothing here drops an event.

mod blocks;
mod facts;
mod format;
mod head;
mod pieces;
mod reader;
mod recorder;
mod replay;
mod resolve;
mod writer;

pub use blocks::Bytes;
pub use facts::{Sample, Sampler};
pub use format::{
    BLOCK_HEADER, BLOCK_MAGIC, BlockHeader, Codec, FILE_HEADER, Kind, MAGIC, MAJOR, MAX_BLOCK, MINOR,
    check_file_header, file_header,
};
pub use head::{Clock, End, Head, Losses, Machine, RecordedEvent};
pub use reader::Recording;
pub use recorder::{Handle, Recorder, record};
pub use replay::{Replay, ReplaySource};
pub use resolve::resolve;

//! What the merge tells, into blocks of events. In: each source's run or stretches of records as they are, and the end of each
//! turn. Out: blocks, to the thread that writes them.
//!
//! The merge's thread copies; compressing and writing are another's. Between them are a few blocks: where the disk doesn't
//! keep up, [`Recorder::flush`] waits for it.

use std::fs::File;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;

use super::facts::{self, Sampler};
use super::format::{BLOCK_HEADER, Kind};
use super::head::{Clock, End, Head, Ledger, Losses};
use super::pieces::{push_mark, push_records, push_stretch};
use super::writer::Writer;
use crate::error::Error;
use crate::event::{Layouts, Record};
use crate::layout::{ALIGNED_ID, STACK_DEFINITION};
use crate::loss::Row;
use crate::source::stretch::Stretch;
use crate::source::{Entry, Run};
use crate::stack::Frames;

/// A block of events is written when it has so many bytes.
const ENOUGH: usize = 1 << 20;
/// And at the latest after this time, so that a killed tracer leaves all but the last moment.
const AT_LATEST: Duration = Duration::from_millis(250);
/// Blocks between the two threads.
const WAITING: usize = 8;

/// A block on its way to the file.
pub(super) struct Block {
    pub kind: Kind,
    pub events: u32,
    pub bytes: Vec<u8>,
}

/// The merge's end of a recording.
pub struct Recorder {
    current: Block,
    full: Vec<Block>,
    blocks: SyncSender<Block>,
    spare: Receiver<Vec<u8>>,
    layouts: Arc<Layouts>,
    stacks: Sender<Frames>,
    /// Stacks whose frames have been told, by hash.
    told: FxHashSet<u64>,
    /// A mark that has to stand before the next records.
    mark: Option<u64>,
    /// Whether this turn had records.
    is_turn: bool,
    /// Bytes of this turn's stretches.
    copied: usize,
    flushed_at: Instant,
    failure: Arc<Mutex<Failure>>,
}

/// What the thread that writes could not do.
#[derive(Debug, Default)]
struct Failure {
    error: Option<Error>,
    /// Whether the merge's thread has told of it: once is enough.
    is_told: bool,
}

/// The session's end of it.
#[derive(Debug)]
pub struct Handle {
    writer: Option<JoinHandle<Writer>>,
    facts: Option<JoinHandle<Ledger>>,
    failure: Arc<Mutex<Failure>>,
}

/// Begins a recording in an empty file; `path` is for messages, and `sampler` is asked for the ledger each second.
pub fn record(
    file: File,
    path: &str,
    compresses: bool,
    head: &Head,
    layouts: Arc<Layouts>,
    sampler: Sampler,
) -> Result<(Recorder, Handle), Error> {
    let mut writer = Writer::new(file, path, compresses)?;
    let json =
        serde_json::to_vec(head).map_err(|error| Error::engine(format!("a recording's description: {error}")))?;
    writer.block(Kind::Head, 0, &json)?;
    let (blocks, waiting) = mpsc::sync_channel(WAITING);
    let (back, spare) = mpsc::channel();
    let (stacks, told) = mpsc::channel();
    let failure = Arc::<Mutex<Failure>>::default();
    let of_writer = Arc::clone(&failure);
    let writer = thread("spile-record", move || write(writer, &waiting, &back, &of_writer))?;
    let of_facts = blocks.clone();
    let facts = thread("spile-facts", move || facts::run(&told, &of_facts, sampler))?;
    let handle = Handle { writer: Some(writer), facts: Some(facts), failure: Arc::clone(&failure) };
    let recorder = Recorder {
        current: Block { kind: Kind::Events, events: 0, bytes: Vec::with_capacity(ENOUGH + ENOUGH / 2) },
        full: Vec::new(),
        blocks,
        spare,
        layouts,
        stacks,
        told: FxHashSet::default(),
        mark: None,
        is_turn: false,
        copied: 0,
        flushed_at: Instant::now(),
        failure,
    };
    Ok((recorder, handle))
}

fn thread<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Error> {
    let started = std::thread::Builder::new().name(name.into()).spawn(body);
    started.map_err(|error| Error::engine(format!("starting a thread that records: {error}")))
}

/// The thread that writes, until nobody has more. After a failure it ends, and who sends to it finds out.
fn write(mut writer: Writer, waiting: &Receiver<Block>, back: &Sender<Vec<u8>>, failure: &Mutex<Failure>) -> Writer {
    while let Ok(Block { kind, events, bytes }) = waiting.recv() {
        if let Err(error) = writer.block(kind, events, &bytes) {
            let end = End { clock: Clock::now(), events: writer.events, reason: Some(error.to_string()) };
            lock(failure).error = Some(error);
            writer.last_words(Kind::End, &serde_json::to_vec(&end).unwrap_or_default());
            break;
        }
        let _ = back.send(bytes);
    }
    writer
}

/// Each change is a single assignment.
fn lock(failure: &Mutex<Failure>) -> MutexGuard<'_, Failure> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Takes the records that a source has just given.
    pub(crate) fn records(&mut self, run: &Run) -> Result<(), Error> {
        let mut entries = run.entries();
        if entries.is_empty() {
            return Ok(());
        }
        self.begin();
        while !entries.is_empty() {
            let count = push_records(&mut self.current.bytes, run, entries)?;
            let (these, rest) = entries.split_at(count);
            self.current.events += self.look(run, these);
            entries = rest;
            self.seal(ENOUGH);
        }
        Ok(())
    }

    /// Takes compact records as they are. There are no stacks' definitions among them.
    pub fn stretch(&mut self, stretch: &Stretch<'_>) {
        self.begin();
        push_stretch(&mut self.current.bytes, stretch);
        self.current.events += stretch.events;
        self.copied += stretch.bytes.len();
        self.seal(ENOUGH);
    }

    /// The mark of a turn that had nothing is needed only if something follows it.
    fn begin(&mut self) {
        if let Some(mark) = self.mark.take() {
            push_mark(&mut self.current.bytes, mark);
        }
        self.is_turn = true;
    }

    /// The turn has ended: everything before `bound` was delivered. Gives the bytes of its stretches.
    pub(crate) fn turn(&mut self, bound: u64) -> usize {
        if std::mem::take(&mut self.is_turn) {
            push_mark(&mut self.current.bytes, bound);
        } else {
            self.mark = Some(bound);
        }
        std::mem::take(&mut self.copied)
    }

    /// Hands over what is full, and now and then what isn't. Waits where the disk is slow. The error is the writer's.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.flushed_at.elapsed() >= AT_LATEST {
            self.seal(1);
        }
        for block in std::mem::take(&mut self.full) {
            self.flushed_at = Instant::now();
            if self.blocks.send(block).is_err() {
                return Err(self.failed());
            }
        }
        let has_failed = lock(&self.failure).error.is_some();
        if has_failed { Err(self.failed()) } else { Ok(()) }
    }

    fn failed(&self) -> Error {
        let mut failure = lock(&self.failure);
        failure.is_told = true;
        failure
            .error
            .clone()
            .unwrap_or_else(|| Error::engine("the thread that writes a recording panicked; this is a bug of spile's"))
    }

    /// Makes the current block a full one, if it has so many bytes.
    fn seal(&mut self, least: usize) {
        if self.current.bytes.len() >= least {
            let mut bytes = self.spare.try_recv().unwrap_or_default();
            bytes.clear();
            let next = Block { kind: Kind::Events, events: 0, bytes };
            self.full.push(std::mem::replace(&mut self.current, next));
        }
    }

    /// Tells of stacks that are new, and counts the events.
    fn look(&mut self, run: &Run, entries: &[Entry]) -> u32 {
        let mut events = 0;
        for entry in entries {
            let record = run.record(*entry);
            let id = record.get(ALIGNED_ID as usize..).and_then(|rest| rest.first_chunk());
            if id != Some(&STACK_DEFINITION.to_le_bytes()) {
                events += 1;
            } else if let Ok(Record::Stack(stack)) = Record::parse(&self.layouts, entry.cpu, record)
                && self.told.insert(stack.hash)
            {
                // Whoever names addresses may have ended; the recording doesn't need it.
                let _ = self.stacks.send(Frames { pid: stack.pid, addresses: stack.frames().collect() });
            }
        }
        events
    }
}

impl Drop for Recorder {
    /// What is left goes out; if that can't be written, the handle says so.
    fn drop(&mut self) {
        self.seal(1);
        for block in std::mem::take(&mut self.full) {
            let _ = self.blocks.send(block);
        }
    }
}

impl Handle {
    /// Writes the last ledger and the end, once the [`Recorder`] is gone. A second call does nothing.
    pub fn close(&mut self, rows: &[Row], lost_children: u64) -> Result<(), Error> {
        let panicked = |_| Error::engine("a thread that records panicked; this is a bug of spile's");
        let (Some(facts), Some(writer)) = (self.facts.take(), self.writer.take()) else { return Ok(()) };
        let mut known = facts.join().map_err(panicked)?;
        let mut writer = writer.join().map_err(panicked)?;
        let Failure { error, is_told } = &*lock(&self.failure);
        if let Some(error) = error {
            return if *is_told { Ok(()) } else { Err(error.clone()) };
        }
        let losses = Losses::new(rows, lost_children, &mut known);
        writer.block(Kind::Losses, 0, &json(&losses))?;
        let end = End { clock: losses.clock, events: writer.events, reason: None };
        writer.block(Kind::End, 0, &json(&end))
    }
}

/// Plain numbers and strings: there is nothing that JSON couldn't hold.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

// A block of events is far below the most that a block may hold: a piece comes on top of what is nearly full.
const _: () = assert!(2 * ENOUGH + BLOCK_HEADER < super::format::MAX_BLOCK);

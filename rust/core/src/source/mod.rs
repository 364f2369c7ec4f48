//! Where records come from. In: a ring, a pipe, a recording. Out: aligned records in a [`Run`], or rows of what is counted.
//!
//! A source only moves bytes, and what a record means is looked at once: by [`crate::merge`], or by a source that makes
//! records itself and vouches for them.

mod buffer;
pub mod compact;
pub mod framed;
pub mod packed;
pub mod pipe;
pub mod rows;
pub mod stretch;

use std::time::Duration;

use crate::error::Error;
use crate::layout::{ALIGNED_ID, COMPACT_SHIFT, EventLayout};
use crate::recording::Recorder;
use rows::Rows;

/// Something that records can be read from.
pub trait Source: Send {
    /// Appends what is there now, and what arrives meanwhile only as far as it is no trouble: a call must end.
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error>;

    /// As [`Self::read`], and everything that has been read goes to a recorder. Unless the source sees to that, it is what
    /// came into the run.
    fn record(&mut self, run: &mut Run, recorder: &mut Recorder) -> Result<Progress, Error> {
        let outcome = self.read(run);
        recorder.records(run).and(outcome)
    }

    /// Whether it sees to that: then a recording doesn't depend on what comes into the run.
    fn records_itself(&self) -> bool {
        false
    }

    /// Told before the first read: of the events with this id only these columns matter, in ascending order, and the
    /// order of time doesn't. A source that decodes may give [`Rows`] of them, for any of these events.
    fn project(&mut self, id: u16, columns: &[u32]) {
        let _ = (id, columns);
    }

    /// Told before the first read: the events with this id are recorded, and nobody needs them in the run.
    fn leave_out(&mut self, id: u16) {
        let _ = id;
    }

    /// Waits for more, for a time, if it has reason to think that more comes soon. False: it didn't wait.
    fn wait(&mut self, at_most: Duration) -> bool {
        let _ = at_most;
        false
    }
}

/// How far a source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Whether everything that had been written when the call began has been read.
    pub drained: bool,
    /// Whether nothing will ever come any more.
    pub ended: bool,
    /// Every event with an earlier time has been read.
    pub watermark: u64,
}

/// A record's place in a [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// From the run's start.
    pub start: u32,
    /// In bytes.
    pub length: u32,
    /// Where it happened.
    pub cpu: u16,
    /// The id of an event whose source made the record by its layout, so that nobody need look it over; 0 where the
    /// source only passes on what it got.
    pub vouched: u16,
}

/// Records that were read together.
#[derive(Debug, Default)]
pub struct Run {
    /// The records, and behind them room for more that holds anything.
    bytes: Vec<u8>,
    /// Where the records end.
    end: usize,
    entries: Vec<Entry>,
    /// Where the records begin that have not been [settled](Self::settle).
    settled: usize,
    /// By event id.
    rows: Vec<Rows>,
}

impl Run {
    /// Appends a record.
    #[inline]
    pub fn push(&mut self, cpu: u16, record: &[u8]) {
        self.room(record.len()).copy_from_slice(record);
        self.commit(record.len(), cpu, 0);
    }

    /// Appends a compact record of that layout as an aligned one, with its whole time. Its source vouches for it.
    #[inline]
    pub fn push_compact(&mut self, cpu: u16, layout: &EventLayout, time: u64, record: &[u8]) {
        let room = self.room(layout.fixed_size as usize);
        let (head, rest) = room.split_at_mut(ALIGNED_ID as usize);
        head.copy_from_slice(&time.to_le_bytes());
        let from = record.get((ALIGNED_ID - COMPACT_SHIFT) as usize..).unwrap_or_default();
        let length = from.len().min(rest.len());
        rest[..length].copy_from_slice(&from[..length]);
        rest[length..].fill(0);
        self.commit(layout.fixed_size as usize, cpu, layout.schema.id);
    }

    /// Appends what is left of a compact record that is only counted. False where that is not enough, and it must be a record.
    #[inline(always)]
    pub fn push_row(&mut self, projection: &compact::Projection, record: &[u8]) -> bool {
        projection.push(record, self.rows_of(projection.id()))
    }

    /// Room for the next record, which [`Self::commit`] takes up. It holds anything.
    #[inline]
    pub(crate) fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < length {
            self.grow(length);
        }
        &mut self.bytes[self.end..][..length]
    }

    /// Makes the first bytes of the room a record. A source that vouches for it names its event, else 0.
    #[inline]
    pub(crate) fn commit(&mut self, length: usize, cpu: u16, vouched: u16) {
        self.entries.push(Entry { start: self.end as u32, length: length as u32, cpu, vouched });
        self.end += length;
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        self.bytes.resize(self.end + length + Self::STEP, 0);
    }

    /// Room is made in pieces of this size.
    const STEP: usize = 64 << 10;

    /// Whether a source should let the reader work on what there is before it goes on: places have 32 bits.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.end - self.settled >= Self::ENOUGH
    }

    /// Bytes after which a source pauses.
    pub const ENOUGH: usize = 16 << 20;

    /// The records, in the order read.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The rows of events that are only counted, by event id.
    pub fn rows(&self) -> &[Rows] {
        &self.rows
    }

    /// Where a source puts the rows of an event.
    pub(crate) fn rows_of(&mut self, id: u16) -> &mut Rows {
        let id = usize::from(id);
        if self.rows.len() <= id {
            self.rows.resize_with(id + 1, Rows::default);
        }
        &mut self.rows[id]
    }

    /// A record's bytes.
    #[inline]
    pub fn record(&self, entry: Entry) -> &[u8] {
        let start = entry.start as usize;
        self.bytes.get(start..start + entry.length as usize).unwrap_or_default()
    }

    /// The bytes of entries whose records stand one behind the other, as a source puts them.
    pub(crate) fn in_a_row(&self, entries: &[Entry]) -> Option<&[u8]> {
        let (first, last) = (entries.first()?, entries.last()?);
        let bytes = self.bytes.get(first.start as usize..last.start as usize + last.length as usize)?;
        (entries.iter().map(|entry| entry.length as usize).sum::<usize>() == bytes.len()).then_some(bytes)
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.end = 0;
        self.settle();
    }

    /// Bytes of all records, the settled ones included.
    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// Forgets the entries and rows, and keeps the records' bytes: whoever has copied an entry can still ask for its record.
    pub(crate) fn settle(&mut self) {
        self.entries.clear();
        self.rows.iter_mut().for_each(Rows::clear);
        self.settled = self.end;
    }

    /// Moves the records of these entries together, in this order, and drops all others. `spare` is what memory it takes.
    pub(crate) fn compact<'a>(&mut self, entries: impl Iterator<Item = &'a mut Entry>, spare: &mut Vec<u8>) {
        spare.clear();
        for entry in entries {
            let start = spare.len() as u32;
            spare.extend_from_slice(self.record(*entry));
            entry.start = start;
        }
        std::mem::swap(&mut self.bytes, spare);
        self.end = self.bytes.len();
        self.settle();
    }
}

//! Puts the events of several sources in the order of time. In: sources. Out: events, to a [`Sink`].
//!
//! Each CPU's stream is all but sorted (an interrupt's event may stand before its victim's earlier one), so a turn reads
//! every source, sorts what it has by a sort that profits from runs, and lets go of everything before the watermark, the
//! least of the sources' own. An event from before a watermark that has gone by is delivered at once and counted: late.
//! Stacks' definitions have no time; they are taken in as soon as they are read, before any event that names them.

use std::sync::Arc;

use crate::error::Error;
use crate::event::{Event, Layouts, Record};
use crate::sink::Sink;
use crate::source::{Entry, Progress, Run, Source};
use crate::stack::StackTable;

/// The merge of some sources.
pub struct Merge {
    sources: Vec<Feed>,
    layouts: Arc<Layouts>,
    stacks: Arc<StackTable>,
    run: Run,
    held: Held,
    watermark: u64,
    /// By event id.
    late: Vec<u64>,
    /// Bytes that the sources gave so far, for the offsets of errors.
    offset: u64,
}

struct Feed {
    source: Box<dyn Source>,
    progress: Progress,
}

/// Events that wait for the watermark.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    events: Vec<(u64, Entry)>,
}

/// What a turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Bytes read.
    pub bytes: usize,
    /// Whether every source has been read up to where it was when the turn began.
    pub drained: bool,
    /// Whether every source has ended.
    pub ended: bool,
}

impl Merge {
    /// A merge that has read nothing yet.
    pub fn new(sources: Vec<Box<dyn Source>>, layouts: Arc<Layouts>, stacks: Arc<StackTable>) -> Self {
        let fresh = Progress { drained: false, ended: false, watermark: 0 };
        let late = vec![0; layouts.len()];
        let sources = sources.into_iter().map(|source| Feed { source, progress: fresh }).collect();
        Self { sources, layouts, stacks, run: Run::default(), held: Held::default(), watermark: 0, late, offset: 0 }
    }

    /// Reads every source once and delivers what is certain to be complete; with `flush`, everything.
    ///
    /// After an error the events that had been read before it are still there for the next turn.
    pub fn turn(&mut self, sink: &mut dyn Sink, flush: bool) -> Result<Turn, Error> {
        let before = self.offset;
        let read = self.read();
        let everything = flush || self.held.is_too_much() || self.sources.iter().all(|feed| feed.progress.ended);
        let least = self.sources.iter().map(|feed| feed.progress.watermark).min();
        self.deliver(if everything { u64::MAX } else { least.unwrap_or(0) }, sink);
        read?;
        Ok(Turn {
            bytes: (self.offset - before) as usize,
            drained: self.sources.iter().all(|feed| feed.progress.drained),
            ended: self.sources.iter().all(|feed| feed.progress.ended),
        })
    }

    /// Every event with an earlier time has been delivered.
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Events that came after later ones had been delivered, by event id.
    pub fn late(&self) -> &[u64] {
        &self.late
    }

    fn read(&mut self) -> Result<(), Error> {
        for feed in &mut self.sources {
            if feed.progress.ended {
                continue;
            }
            let outcome = feed.source.read(&mut self.run);
            let mut fault = None;
            for &entry in self.run.entries() {
                let bytes = self.run.record(entry);
                match Record::parse(&self.layouts, entry.cpu, bytes) {
                    Ok(Record::Stack(stack)) => self.stacks.define(stack.hash, stack.pid, stack.frames()),
                    Ok(Record::Event(event)) => self.held.push(&event),
                    Err(error) => {
                        fault = Some(moved(error, self.offset));
                        break;
                    }
                }
                self.offset += u64::from(entry.length);
            }
            self.run.clear();
            match (outcome, fault) {
                (Ok(progress), None) => feed.progress = progress,
                (outcome, fault) => {
                    // What can't be read can't be read the next time either.
                    feed.progress.ended = true;
                    return Err(fault.or(outcome.err()).unwrap_or_else(|| Error::engine("a source failed")));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, watermark: u64, sink: &mut dyn Sink) {
        let previous = self.watermark;
        let Held { bytes, events } = &mut self.held;
        if !events.is_sorted_by_key(|(time, _)| *time) {
            events.sort_by_key(|(time, _)| *time);
        }
        let count = events.partition_point(|(time, _)| *time < watermark);
        let passed = if watermark == u64::MAX { events.last().map_or(0, |(time, _)| *time) } else { watermark };
        self.watermark = previous.max(passed);
        for (time, entry) in &events[..count] {
            let start = entry.start as usize;
            let record = &bytes[start..start + entry.length as usize];
            // It was parsed when it was read, so its layout is there.
            let id = u16::from_le_bytes([record[8], record[9]]);
            let Some(layout) = self.layouts.get(id) else { continue };
            if *time < previous {
                self.late[usize::from(id)] += 1;
            }
            if !sink.event(&Event { layout, cpu: entry.cpu, bytes: record }) {
                break;
            }
        }
        self.held.forget(count);
    }
}

impl Held {
    #[inline]
    fn push(&mut self, event: &Event<'_>) {
        let entry = Entry { start: self.bytes.len() as u32, length: event.bytes.len() as u32, cpu: event.cpu };
        self.bytes.extend_from_slice(event.bytes);
        self.events.push((event.time(), entry));
    }

    /// Whether a source that doesn't get on must not hold the others up any longer.
    fn is_too_much(&self) -> bool {
        self.bytes.len() >= 256 << 20
    }

    /// Drops the first events, and moves the bytes of the others together.
    fn forget(&mut self, count: usize) {
        if count == self.events.len() {
            self.bytes.clear();
            self.events.clear();
            return;
        }
        self.events.drain(..count);
        let mut bytes = Vec::with_capacity(self.events.iter().map(|(_, entry)| entry.length as usize).sum());
        for (_, entry) in &mut self.events {
            let start = entry.start as usize;
            entry.start = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[start..start + entry.length as usize]);
        }
        self.bytes = bytes;
    }
}

fn moved(error: Error, by: u64) -> Error {
    match error {
        Error::Stream { offset, message } => Error::Stream { offset: offset + by, message },
        other => other,
    }
}

//! Puts the events of several sources in the order of time. In: sources. Out: events, to a [`Sink`].
//!
//! Each CPU's stream is all but sorted (an interrupt's event may stand before its victim's earlier one), so a turn reads
//! every source, sorts what it has by a sort that profits from runs, and lets go of everything before the watermark, the
//! least of the sources' own. An event from before a watermark that has gone by is delivered at once and counted: late.
//! Stacks' definitions have no time; they are taken in as soon as they are read, before any event that names them.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::event::{Event, Layouts, Record};
use crate::recording::Recorder;
use crate::sink::Sink;
use crate::source::{Entry, Progress, Run, Source};
use crate::stack::StackTable;

/// The merge of some sources.
pub struct Merge {
    sources: Vec<Feed>,
    layouts: Arc<Layouts>,
    stacks: Arc<StackTable>,
    held: Held,
    watermark: u64,
    /// By event id.
    late: Vec<u64>,
    /// Bytes that the sources gave so far, for the offsets of errors.
    offset: u64,
    recorder: Option<Recorder>,
}

struct Feed {
    source: Box<dyn Source>,
    progress: Progress,
}

/// Events that wait for the watermark. Their bytes stay where the sources put them.
#[derive(Default)]
struct Held {
    run: Run,
    /// In the order read, or that of time after [`Self::sort`].
    events: Vec<(u64, Entry)>,
    /// How many of the first ones have been delivered.
    gone: usize,
    is_unsorted: bool,
    /// Bytes of the events that have not been delivered.
    alive: usize,
    /// Memory, for moving bytes.
    spare: Vec<u8>,
}

/// What a turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Bytes read, or copied into a recording unread.
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
        Self { sources, layouts, stacks, held: Held::default(), watermark: 0, late, offset: 0, recorder: None }
    }

    /// Tells it, from the first turn on, what every source gives, and what was let go. Comes before anything else.
    pub fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Tells the sources, before the first turn, that the events with this id are wanted for these columns alone.
    pub fn project(&mut self, id: u16, columns: &[u32]) {
        self.reducible().for_each(|source| source.project(id, columns));
    }

    /// Tells the sources, before the first turn, that the events with this id are recorded and not wanted beside that.
    pub fn leave_out(&mut self, id: u16) {
        self.reducible().for_each(|source| source.leave_out(id));
    }

    /// Sources that may give less than all records: what is recorded is whole.
    fn reducible(&mut self) -> impl Iterator<Item = &mut Box<dyn Source>> {
        let is_recorded = self.recorder.is_some();
        let sources = self.sources.iter_mut().map(|feed| &mut feed.source);
        sources.filter(move |source| !is_recorded || source.records_itself())
    }

    /// Hands over what was recorded, and waits where the disk is slow.
    pub fn flush_recording(&mut self) -> Result<(), Error> {
        self.recorder.as_mut().map_or(Ok(()), Recorder::flush)
    }

    /// Reads every source once and delivers what is certain to be complete; with `flush`, everything.
    ///
    /// After an error the events that had been read before it are still there for the next turn.
    pub fn turn<S: Sink + ?Sized>(&mut self, sink: &mut S, flush: bool) -> Result<Turn, Error> {
        let before = self.offset;
        let read = self.read(sink);
        let everything = flush || self.held.is_too_much() || self.sources.iter().all(|feed| feed.progress.ended);
        let least = self.sources.iter().map(|feed| feed.progress.watermark).min();
        let bound = if everything { u64::MAX } else { least.unwrap_or(0) };
        self.deliver(bound, sink);
        let copied = self.recorder.as_mut().map_or(0, |recorder| recorder.turn(bound));
        read?;
        Ok(Turn {
            bytes: (self.offset - before) as usize + copied,
            drained: self.sources.iter().all(|feed| feed.progress.drained),
            ended: self.sources.iter().all(|feed| feed.progress.ended),
        })
    }

    /// Lets the source wait for more, if it is the only one. False: it didn't wait.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        match self.sources.as_mut_slice() {
            [feed] => feed.source.wait(at_most),
            _ => false,
        }
    }

    /// Every event with an earlier time has been delivered.
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Events that came after later ones had been delivered, by event id.
    pub fn late(&self) -> &[u64] {
        &self.late
    }

    fn read<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<(), Error> {
        let Held { run, events, is_unsorted, alive, .. } = &mut self.held;
        for feed in &mut self.sources {
            if feed.progress.ended {
                continue;
            }
            let outcome = match &mut self.recorder {
                Some(recorder) => feed.source.record(run, recorder),
                None => feed.source.read(run),
            };
            let mut fault = None;
            for &entry in run.entries() {
                let bytes = run.record(entry);
                let record = match self.layouts.get(entry.vouched) {
                    Some(layout) => Ok(Record::Event(Event { layout, cpu: entry.cpu, bytes })),
                    None => Record::parse(&self.layouts, entry.cpu, bytes),
                };
                match record {
                    Ok(Record::Stack(stack)) => self.stacks.define(stack.hash, stack.pid, stack.frames()),
                    Ok(Record::Event(event)) if sink.unordered(&event) => {}
                    Ok(Record::Event(event)) => {
                        let time = event.time();
                        *is_unsorted |= events.last().is_some_and(|(last, _)| *last > time);
                        events.push((time, entry));
                        *alive += entry.length as usize;
                    }
                    Err(error) => {
                        fault = Some(moved(error, self.offset));
                        break;
                    }
                }
                self.offset += u64::from(entry.length);
            }
            for (id, rows) in run.rows().iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                sink.rows(id as u16, rows);
                self.offset += rows.nbytes();
            }
            run.settle();
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

    fn deliver<S: Sink + ?Sized>(&mut self, watermark: u64, sink: &mut S) {
        let previous = self.watermark;
        self.held.sort();
        let events = &self.held.events[self.held.gone..];
        let count = events.partition_point(|(time, _)| *time < watermark);
        let passed = if watermark == u64::MAX { events.last().map_or(0, |(time, _)| *time) } else { watermark };
        self.watermark = previous.max(passed);
        for (time, entry) in &events[..count] {
            let record = self.held.run.record(*entry);
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
    /// A sort that profits from runs: each source's events are all but sorted.
    fn sort(&mut self) {
        if std::mem::take(&mut self.is_unsorted) {
            self.events[self.gone..].sort_by_key(|(time, _)| *time);
        }
    }

    /// Whether a source that doesn't get on must not hold the others up any longer.
    fn is_too_much(&self) -> bool {
        self.run.len() >= 512 << 20
    }

    /// Drops the next events. Bytes are moved only where more are dead than alive, so that an event is moved about once,
    /// however long it waits.
    fn forget(&mut self, count: usize) {
        let dropped = self.events[self.gone..][..count].iter();
        self.alive -= dropped.map(|(_, entry)| entry.length as usize).sum::<usize>();
        self.gone += count;
        if self.gone == self.events.len() {
            self.run.clear();
            self.events.clear();
            self.gone = 0;
        } else if self.run.len() > 2 * self.alive {
            self.events.drain(..self.gone);
            self.gone = 0;
            self.run.compact(self.events.iter_mut().map(|(_, entry)| entry), &mut self.spare);
        }
    }
}

fn moved(error: Error, by: u64) -> Error {
    match error {
        Error::Stream { offset, message } => Error::Stream { offset: offset + by, message },
        other => other,
    }
}

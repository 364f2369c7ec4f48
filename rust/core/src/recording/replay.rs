//! A recording as a [`Source`]. In: blocks of events. Out: the records of a turn at a time, as the sources gave them, and
//! the mark that says what that turn let go.
//!
//! Each record is looked over, so that what comes out can be vouched for. Damaged blocks are passed over; once everything
//! else has been read, the source fails with the place of the first of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::blocks::{Blocks, Found, Place};
use super::format::Kind;
use super::pieces::{Piece, Records};
use super::reader::Recording;
use crate::error::Error;
use crate::event::Record;
use crate::source::stretch::{Behind, Stretch};
use crate::source::{Progress, Run, Source};

/// A replay, as whoever started it sees it.
#[derive(Debug, Default)]
pub struct Replay {
    is_closed: AtomicBool,
    events: AtomicU64,
}

impl Replay {
    /// Ends it at once: what has not been read stays unread.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Events read so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

/// Reads a recording's events.
pub struct ReplaySource {
    recording: Arc<Recording>,
    replay: Arc<Replay>,
    blocks: Blocks,
    /// The next block's number.
    number: u32,
    place: u64,
    block: Vec<u8>,
    /// Where in the block.
    at: usize,
    watermark: u64,
    damage: Damage,
    has_ended: bool,
}

/// What could not be read.
#[derive(Debug, Default)]
struct Damage {
    first: Option<u64>,
    places: u64,
    bytes: u64,
    /// Records that are none.
    records: u64,
    /// Numbers that no block has.
    blocks: u64,
    /// Where the last damaged place ends.
    ends_at: Option<u64>,
}

impl ReplaySource {
    /// Of this recording, from its start.
    pub fn new(recording: Arc<Recording>, replay: Arc<Replay>) -> Self {
        let blocks = recording.blocks();
        Self {
            recording,
            replay,
            blocks,
            number: 0,
            place: 0,
            block: Vec::new(),
            at: 0,
            watermark: 0,
            damage: Damage::default(),
            has_ended: false,
        }
    }

    /// Reads the next block of events. False at the end.
    fn load(&mut self) -> Result<bool, Error> {
        (self.at, self.place) = (0, self.blocks.at);
        self.block.clear();
        loop {
            let place = match self.blocks.next()? {
                Found::Block(place) => place,
                Found::Damage { from, to } => {
                    self.damage.add(from, to);
                    continue;
                }
                Found::Cut(_) | Found::End => return Ok(false),
            };
            self.count(place);
            match self.blocks.payload(place, &mut self.block)? {
                Ok(()) if place.header.kind == Kind::Events as u16 => {
                    self.place = place.at;
                    return Ok(true);
                }
                Ok(()) => {}
                Err(Found::Damage { from, to }) => self.damage.add(from, to),
                Err(_) => {}
            }
        }
    }

    /// Notices blocks that are missing from the file's middle.
    fn count(&mut self, Place { at, header }: Place) {
        let missing = u64::from(header.number.wrapping_sub(self.number));
        // What lies in a damaged place is counted there.
        if missing > 0 && self.damage.ends_at != Some(at) {
            self.damage.blocks += missing;
            self.damage.places += 1;
            self.damage.first.get_or_insert(at);
        }
        self.number = header.number.wrapping_add(1);
    }

    fn error(&self) -> Option<Error> {
        let Damage { first, places, bytes, records, blocks, .. } = self.damage;
        let (offset, read) = (first?, self.replay.events());
        let lost = self.recording.events().saturating_sub(read);
        let mut parts = vec![format!("the recording is damaged from here on, in {places} places, {bytes} bytes")];
        if blocks > 0 {
            parts.push(format!("{blocks} blocks are missing"));
        }
        if records > 0 {
            parts.push(format!("{records} records can't be read"));
        }
        let saved = format!("{read} events were read all the same, and of {lost} it is known that they are lost");
        Some(Error::Recording { offset, message: format!("{}: {saved}", parts.join(", ")) })
    }

    /// Takes records in; gives how many of them are events.
    fn push(recording: &Recording, records: &Records<'_>, run: &mut Run, damage: &mut Damage, place: u64) -> u64 {
        let mut events = 0;
        for bytes in records.iter() {
            let vouched = match Record::parse(recording.layouts(), records.cpu, bytes) {
                Ok(Record::Event(event)) => event.id(),
                Ok(Record::Stack(_)) => 0,
                Err(_) => {
                    damage.record(place);
                    continue;
                }
            };
            events += u64::from(vouched != 0);
            run.room(bytes.len()).copy_from_slice(bytes);
            run.commit(bytes.len(), records.cpu, vouched);
        }
        events
    }

    /// Takes compact records in; gives how many of them are events. What is behind one that is none can't be told any more.
    fn push_compact(
        recording: &Recording,
        (cpu, near, bytes): (u16, u64, &[u8]),
        run: &mut Run,
        damage: &mut Damage,
        place: u64,
    ) -> u64 {
        let (stretch, behind) = Stretch::of(recording.layouts(), cpu, near, bytes);
        for record in stretch.records(recording.layouts()) {
            run.push_compact(cpu, record.layout, record.time, record.bytes);
        }
        if behind != Behind::Unasked {
            damage.record(place);
        }
        u64::from(stretch.events)
    }

    fn progress(&self) -> Progress {
        let watermark = if self.has_ended { u64::MAX } else { self.watermark };
        Progress { drained: self.has_ended, ended: self.has_ended, watermark }
    }
}

impl Damage {
    fn record(&mut self, place: u64) {
        self.records += 1;
        self.first.get_or_insert(place);
    }

    fn add(&mut self, from: u64, to: u64) {
        self.first.get_or_insert(from);
        self.places += 1;
        self.bytes += to - from;
        self.ends_at = Some(to);
    }
}

impl Source for ReplaySource {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        loop {
            if self.replay.is_closed.load(Ordering::Acquire) {
                self.has_ended = true;
            }
            if self.has_ended || run.is_full() {
                return Ok(self.progress());
            }
            if self.at >= self.block.len() {
                if self.load()? {
                    continue;
                }
                self.has_ended = true;
                return self.error().map_or_else(|| Ok(self.progress()), Err);
            }
            let events = match Piece::parse(&self.block[self.at..]) {
                Some((Piece::Records(records), length)) => {
                    self.at += length;
                    Self::push(&self.recording, &records, run, &mut self.damage, self.place)
                }
                Some((Piece::Compact { cpu, near, bytes }, length)) => {
                    self.at += length;
                    let piece = (cpu, near, bytes);
                    Self::push_compact(&self.recording, piece, run, &mut self.damage, self.place)
                }
                Some((Piece::Mark(time), length)) => {
                    self.at += length;
                    // Without records, too: what comes behind it may be late.
                    self.watermark = time;
                    return Ok(self.progress());
                }
                None => {
                    self.damage.add(self.place, self.place);
                    self.at = self.block.len();
                    0
                }
            };
            self.replay.events.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// All that will ever come is there.
    fn wait(&mut self, _: Duration) -> bool {
        true
    }
}

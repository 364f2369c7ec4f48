//! A recording that somebody opened: what it says of itself. In: its bytes. Out: its description, names, ledger and end.
//!
//! Opening passes over the events, which [`super::Replay`] reads, and takes in everything that is needed before them:
//! names of addresses stand behind the stacks that have them. Little of it is kept, however long the recording is.

use std::sync::Arc;

use super::blocks::{Blocks, Bytes, Found, Place};
use super::format::{FILE_HEADER, Kind, check_file_header};
use super::head::{Clock, End, Head, Ledger, Losses};
use crate::error::Error;
use crate::event::Layouts;
use crate::loss::Row;
use crate::symbol::recorded::{Mapping, NamedAddress, Recorded};

/// An open recording.
pub struct Recording {
    bytes: Arc<dyn Bytes>,
    head: Head,
    layouts: Arc<Layouts>,
    names: Arc<Recorded>,
    mappings: Vec<Mapping>,
    ledger: Ledger,
    lost_children: u64,
    /// Of those samples that differ from the one before.
    clocks: Vec<Clock>,
    /// When the last ledger was written.
    last: Clock,
    end: Option<End>,
    /// In all blocks whose headers are sound.
    events: u64,
    /// Where it ends.
    length: u64,
    is_cut: bool,
}

/// Clocks are compared to this, in nanoseconds: reading two takes some time.
const SAME: i128 = 1_000_000;

impl Recording {
    /// Looks a recording over. An error is what makes it unreadable; of other damage the replay tells.
    pub fn open(bytes: Arc<dyn Bytes>) -> Result<Self, Error> {
        let mut header = [0; FILE_HEADER];
        let mut count = 0;
        while let Ok(more @ 1..) = bytes.read_at(&mut header[count..], count as u64) {
            count += more;
        }
        check_file_header(&header[..count])?;
        let mut blocks = Blocks::new(Arc::clone(&bytes));
        let head = first(&mut blocks)?;
        let mut recording = Self {
            layouts: Arc::new(head.layouts()?),
            clocks: vec![head.clock],
            last: head.clock,
            bytes,
            head,
            names: Arc::default(),
            mappings: Vec::new(),
            ledger: Ledger::new(),
            lost_children: 0,
            end: None,
            events: 0,
            length: 0,
            is_cut: false,
        };
        recording.look(&mut blocks)?;
        Ok(recording)
    }

    fn look(&mut self, blocks: &mut Blocks) -> Result<(), Error> {
        let (mut payload, mut names) = (Vec::new(), Recorded::default());
        loop {
            match blocks.next()? {
                Found::Block(place) if place.header.kind == Kind::Events as u16 => {
                    self.events += u64::from(place.header.events);
                }
                // What is damaged is told when it is read for the second time.
                Found::Block(place) => {
                    if blocks.payload(place, &mut payload)?.is_ok() {
                        self.take(place.header.kind, &payload, &mut names);
                    }
                }
                Found::Damage { .. } => {}
                Found::Cut(at) => {
                    (self.is_cut, self.length) = (true, at);
                    break;
                }
                Found::End => {
                    self.length = blocks.at;
                    break;
                }
            }
        }
        self.names = Arc::new(names);
        Ok(())
    }

    /// Kinds that are not known here are passed over.
    fn take(&mut self, kind: u16, payload: &[u8], names: &mut Recorded) {
        if kind == Kind::Symbols as u16 {
            names.add(serde_json::from_slice::<Vec<NamedAddress>>(payload).unwrap_or_default());
        } else if kind == Kind::Mappings as u16 {
            self.mappings.extend(serde_json::from_slice::<Vec<Mapping>>(payload).unwrap_or_default());
        } else if kind == Kind::End as u16 {
            self.end = serde_json::from_slice(payload).ok();
        } else if kind == Kind::Losses as u16
            && let Ok(losses) = serde_json::from_slice::<Losses>(payload)
        {
            losses.enter(&mut self.ledger);
            (self.lost_children, self.last) = (losses.lost_children, losses.clock);
            let before = self.clocks.last().map_or(0, |clock| clock.wall_offset());
            if (losses.clock.wall_offset() - before).abs() > SAME {
                self.clocks.push(losses.clock);
            }
        }
    }

    /// What was asked for, and where.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How its records are read.
    pub fn layouts(&self) -> &Arc<Layouts> {
        &self.layouts
    }

    /// The names that it brings along.
    pub fn names(&self) -> &Arc<Recorded> {
        &self.names
    }

    /// The files whose code was in the stacks of processes.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The last ledger in it: of what the kernel did, without what became of events on the script's side.
    pub fn rows(&self) -> Vec<Row> {
        self.ledger.values().copied().collect()
    }

    /// Children of the followed process that were not followed.
    pub fn lost_children(&self) -> u64 {
        self.lost_children
    }

    /// Events in its blocks, as these say.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Where it ends, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When it was closed; none where it wasn't.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What to add to an event's time for the time of day, by the sample before it: a machine that slept is another
    /// one afterwards.
    pub fn wall_offset(&self, time: u64) -> i128 {
        let after = self.clocks.partition_point(|clock| clock.monotonic <= time);
        self.clocks.get(after.saturating_sub(1)).map_or(0, |clock| clock.wall_offset())
    }

    /// What whoever replays it has to know of its end.
    pub fn warnings(&self) -> Vec<String> {
        let since = self.last.monotonic.saturating_sub(self.head.clock.monotonic) / 1_000_000;
        let until = format!("{}.{:03} s after its start", since / 1000, since % 1000);
        let length = self.length;
        match &self.end {
            Some(End { reason: None, .. }) => Vec::new(),
            Some(End { reason: Some(reason), .. }) => {
                vec![format!("the recording ended early, {reason}; its ledger is that of {until}")]
            }
            None => {
                let place = if self.is_cut { "within a block" } else { "between two blocks" };
                vec![format!(
                    "the recording was not closed: it ends at byte {length}, {place}; what came after that is missing, \
                     and its ledger is that of {until}"
                )]
            }
        }
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks::new(Arc::clone(&self.bytes))
    }
}

/// The first block, without which no other can be read.
fn first(blocks: &mut Blocks) -> Result<Head, Error> {
    let wrong = |offset, message: &str| Err(Error::Recording { offset, message: message.into() });
    let place = match blocks.next()? {
        Found::Block(place) if place.header.kind == Kind::Head as u16 => place,
        Found::Block(Place { at, .. }) | Found::Damage { from: at, .. } => {
            return wrong(at, "the recording's description is damaged: nothing can be read");
        }
        Found::Cut(at) => return wrong(at, "the recording ends within its description: nothing was recorded"),
        Found::End => return wrong(blocks.at, "the recording ends before its description: nothing was recorded"),
    };
    let mut payload = Vec::new();
    if blocks.payload(place, &mut payload)?.is_err() {
        return wrong(place.at, "the recording's description is damaged: nothing can be read");
    }
    Head::read(&payload, place.at)
}

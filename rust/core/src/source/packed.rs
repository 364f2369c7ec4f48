//! SystemTap's `%b` stream. In: bytes, in pieces of any size. Out: aligned records in a [`Run`], as a ring would hold them.
//!
//! The stream has no frame around its records: where one ends is known only by reading it. So whatever can't be is told at
//! once, by its place in the stream: an id without a layout, a string without its end, more frames than a stack has.
//! Nothing behind such a place can be trusted, and the stream stays ended there. A record that hasn't arrived in full waits
//! for the next piece.
//!
//! The columns with [`Role::Time`] and [`Role::Cpu`] give an event its time and CPU. Without a CPU it is 0. Without a time
//! an event follows the one before it: its time is that one's, or its number where no event of the stream has a time.
//! Stacks go into the [`StackTable`] and leave their hash; an empty one is null.
//!
//! Once warm nothing is allocated per event.

mod projection;
mod recent;
mod usual;

use std::ffi::CStr;
use std::io::{Empty, Read};
use std::sync::Arc;

use self::projection::Projection;
pub(super) use self::recent::Recent;
use self::usual::{REACH, Usual};
use super::buffer::{Buffer, Filled};
use super::{Progress, Run, Source};
use crate::error::Error;
use crate::event::Layouts;
use crate::layout::{
    ALIGNED_ID, ALIGNED_TIME, Encoding, EventLayout, FieldType, MAX_FRAMES, PACKED_BYTES_PREFIX, Role,
};
use crate::spec::StackSpace;
use crate::stack::StackTable;

/// Bytes asked for at a time: enough to make a call cheap, and little enough to stay in a CPU's cache.
const CHUNK: usize = 256 << 10;
/// Bytes decoded at a time of a stream in memory: what comes of them stays in a CPU's cache until it has been counted.
const PIECE: usize = 64 << 10;
/// SystemTap puts its CPUs' records together nearly in order: in recordings they are less than 1 ms early or late.
const DISORDER: u64 = 10_000_000;

/// A packed stream.
pub struct PackedSource<R> {
    reader: R,
    plans: Vec<Option<Plan>>,
    recent: Recent,
    buffer: Buffer,
    /// Bytes that are decoded for one read.
    piece: usize,
    /// The place in the stream of the first byte that is not decoded.
    offset: u64,
    clock: Clock,
    state: State,
}

enum State {
    /// There may be more.
    Reading,
    /// The buffer holds whole records that the last run had no room for.
    Paused,
    /// The reader has ended.
    Ended,
    /// The stream can't be read on.
    Failed(Error),
}

/// Times of events.
pub(super) struct Clock {
    /// Whether any event has one.
    is_told: bool,
    /// The latest so far, or the number of events.
    latest: u64,
}

/// How an event is decoded.
pub(super) struct Plan {
    layout: EventLayout,
    steps: Vec<Step>,
    /// The fixed part of an aligned record, 0 but for the id.
    blank: Box<[u8]>,
    usual: Option<Usual>,
    /// What of it is wanted, if not all.
    projection: Option<Projection>,
    /// Bytes of the longest packed record.
    pub(super) longest: usize,
    /// Bytes that decoding may write to.
    pub(super) room: usize,
}

struct Step {
    ty: FieldType,
    role: Role,
    /// In the aligned record.
    offset: usize,
}

/// Why a record was not decoded.
pub(super) enum Stop {
    /// It goes on behind what was read, in this field.
    Incomplete(usize),
    /// It can't be one, because of these bytes.
    Garbage(usize, String),
}

/// An event's header, and the length of its records.
pub(super) struct Decoded {
    pub(super) packed: usize,
    pub(super) aligned: usize,
    pub(super) time: Option<u64>,
    pub(super) cpu: u16,
}

impl PackedSource<Empty> {
    /// A whole stream, in memory.
    pub fn recorded(data: Vec<u8>, packed: Layouts, stacks: Arc<StackTable>) -> Result<Self, Error> {
        let source = Self::over(std::io::empty(), packed, stacks)?;
        Ok(Self { buffer: Buffer::full(data), piece: PIECE, state: State::Ended, ..source })
    }
}

impl<R: Read + Send> PackedSource<R> {
    /// A stream of events with these packed layouts. Refuses a schema that aligned records can't hold.
    pub fn new(reader: R, packed: Layouts, stacks: Arc<StackTable>) -> Result<Self, Error> {
        let mut source = Self::over(reader, packed, stacks)?;
        let length = CHUNK + source.longest();
        (source.buffer, source.piece) = (Buffer::with_room(length), length);
        Ok(source)
    }

    /// A stream without a buffer.
    fn over(reader: R, packed: Layouts, stacks: Arc<StackTable>) -> Result<Self, Error> {
        let mut plans: Vec<Option<Plan>> = Vec::new();
        plans.resize_with(packed.len(), || None);
        for layout in packed.iter() {
            plans[usize::from(layout.schema.id)] = Some(Plan::new(layout)?);
        }
        let clock = Clock::new(plans.iter().flatten());
        Ok(Self {
            reader,
            plans,
            recent: Recent::new(stacks),
            buffer: Buffer::with_room(0),
            piece: 0,
            offset: 0,
            clock,
            state: State::Reading,
        })
    }

    /// Bytes of the longest record.
    fn longest(&self) -> usize {
        self.plans.iter().flatten().map(|plan| plan.longest).max().unwrap_or_default()
    }

    /// Reads once. Whether that was all there is for now.
    fn fill(&mut self) -> Result<bool, Error> {
        let read = self.buffer.fill(&mut self.reader).map_err(|error| {
            let offset = self.offset + self.buffer.filled().len() as u64;
            wrong(offset, format!("the stream can't be read: {error}"))
        })?;
        Ok(match read {
            Filled::Bytes { had_room, .. } => had_room,
            Filled::Nothing => true,
            Filled::Ended => {
                self.state = State::Ended;
                true
            }
        })
    }

    /// Decodes every whole record that was read. Whether it stopped before that: the run is full, or it was enough.
    fn decode(&mut self, run: &mut Run) -> Result<bool, Error> {
        let (start, offset) = (self.buffer.from, self.offset);
        let stop = start.saturating_add(self.piece);
        let bytes = self.buffer.filled();
        let mut at = start;
        let outcome = loop {
            let rest = &bytes[at..];
            let Some(&id) = rest.first() else { break Ok(false) };
            if run.is_full() || at >= stop {
                break Ok(true);
            }
            let place = offset + (at - start) as u64;
            let Some(plan) = self.plans.get(usize::from(id)).and_then(Option::as_ref) else {
                break Err(wrong(place, format!("no event has the id {id}")));
            };
            let done = plan.rows(rest, stop - at, &mut self.recent, &mut self.clock, run);
            if done > 0 {
                at += done;
                continue;
            }
            let record = run.room(plan.room);
            match plan.transcode(rest, record, &mut self.recent) {
                Ok(Decoded { packed, aligned, time, cpu }) => {
                    self.clock.stamp(time, record);
                    run.commit(aligned, cpu, u16::from(id));
                    at += packed;
                }
                Err(Stop::Incomplete(_)) if !matches!(self.state, State::Ended) => break Ok(false),
                Err(Stop::Incomplete(field)) => {
                    let (count, field) = (rest.len(), name(&plan.layout, field));
                    let message = format!("the stream ends after {count} bytes of the event {id}, in {field}");
                    break Err(wrong(place, message));
                }
                Err(Stop::Garbage(at, message)) => break Err(wrong(place + at as u64, message)),
            }
        };
        self.buffer.from = at;
        self.offset += (at - start) as u64;
        outcome
    }
}

impl<R: Read + Send> Source for PackedSource<R> {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let mut outcome = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Reading => self.fill(),
            State::Paused => Ok(false),
            State::Ended => Ok(true),
        };
        if matches!(self.state, State::Paused) {
            self.state = State::Reading;
        }
        let is_full = match self.decode(run) {
            Ok(is_full) => is_full,
            // What stands earlier in the stream is told first.
            Err(error) => {
                outcome = Err(error);
                false
            }
        };
        let is_drained = outcome.inspect_err(|error| self.state = State::Failed(error.clone()))?;
        let ended = matches!(self.state, State::Ended) && !is_full;
        if is_full && matches!(self.state, State::Reading) {
            self.state = State::Paused;
        }
        let watermark = if ended { u64::MAX } else { self.clock.watermark() };
        Ok(Progress { drained: is_drained && !is_full, ended, watermark })
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        if let Some(plan) = self.plans.get_mut(usize::from(id)).and_then(Option::as_mut) {
            plan.project(columns);
        }
    }
}

impl Clock {
    /// Of events with these plans.
    pub(super) fn new<'a>(mut plans: impl Iterator<Item = &'a Plan>) -> Self {
        let is_told = plans.any(|plan| plan.steps.iter().any(|step| step.role == Role::Time));
        Self { is_told, latest: 0 }
    }

    /// Writes an event's time into its record.
    #[inline]
    pub(super) fn stamp(&mut self, told: Option<u64>, record: &mut [u8]) {
        let time = self.next(told);
        record[ALIGNED_TIME as usize..][..8].copy_from_slice(&time.to_le_bytes());
    }

    /// Every event so far is earlier.
    pub(super) fn behind(&self) -> u64 {
        self.latest.saturating_add(u64::from(self.is_told))
    }

    fn next(&mut self, told: Option<u64>) -> u64 {
        match told {
            Some(time) => {
                self.latest = self.latest.max(time);
                time
            }
            None if self.is_told => self.latest,
            None => {
                self.latest += 1;
                self.latest - 1
            }
        }
    }

    /// Events with earlier times are unlikely.
    pub(super) fn watermark(&self) -> u64 {
        if self.is_told { self.latest.saturating_sub(DISORDER) } else { self.latest }
    }
}

impl Plan {
    pub(super) fn new(packed: &EventLayout) -> Result<Self, Error> {
        if packed.encoding != Encoding::Packed {
            return Err(Error::engine("an aligned layout for a packed stream; this is a bug of spile's"));
        }
        let layout = EventLayout::compute(packed.schema.clone(), Encoding::Aligned)?;
        let mut steps = Vec::with_capacity(layout.slots.len());
        for (index, (field, slot)) in layout.schema.fields.iter().zip(&layout.slots).enumerate() {
            let place = || format!("probes[{}].capture.fields[{index}]", layout.schema.probe);
            let is_number = matches!(field.ty, FieldType::Int { .. });
            if matches!(field.role, Role::Time | Role::Cpu) {
                if !is_number {
                    return Err(Error::spec(place(), format!("{}: a time or a CPU is an integer", field.name)));
                }
                if steps.iter().any(|step: &Step| step.role == field.role) {
                    return Err(Error::spec(place(), format!("{}: an event has one time and one CPU", field.name)));
                }
            }
            let Some(offset) = slot.offset else { return Err(Error::engine("a field without a place")) };
            steps.push(Step { ty: field.ty, role: field.role, offset: offset as usize });
        }
        let mut blank: Box<[u8]> = vec![0; layout.fixed_size as usize].into();
        blank[ALIGNED_ID as usize..][..2].copy_from_slice(&layout.schema.id.to_le_bytes());
        let usual = Usual::new(&steps, &blank);
        let room = (layout.max_size as usize).next_multiple_of(8).max(REACH);
        Ok(Self { layout, steps, blank, usual, projection: None, longest: packed.max_size as usize, room })
    }

    /// From now on these columns of it are wanted and no others, if it can.
    pub(super) fn project(&mut self, columns: &[u32]) {
        self.projection = self.usual.as_ref().and_then(|usual| Projection::new(usual, &self.steps, columns));
    }

    /// Makes rows of the records of one kind that begin before `until`, if some columns alone are wanted. The bytes read.
    #[inline]
    pub(super) fn rows(
        &self,
        bytes: &[u8],
        until: usize,
        recent: &mut Recent,
        clock: &mut Clock,
        run: &mut Run,
    ) -> usize {
        match (&self.projection, &self.usual) {
            (Some(projection), Some(usual)) => {
                projection.decode(usual, bytes, until, recent, clock, run.rows_of(self.layout.schema.id))
            }
            _ => 0,
        }
    }

    /// Transcodes the record that `bytes` begin with: the short way, or the general one.
    #[inline]
    pub(super) fn transcode(&self, bytes: &[u8], record: &mut [u8], recent: &mut Recent) -> Result<Decoded, Stop> {
        match self.usual.as_ref().and_then(|usual| usual.decode(bytes, record, recent)) {
            Some(done) => Ok(done),
            None => self.decode(bytes, record, recent),
        }
    }

    #[inline(never)]
    fn decode(&self, bytes: &[u8], record: &mut [u8], recent: &mut Recent) -> Result<Decoded, Stop> {
        let Self { layout, steps, blank, .. } = self;
        record[..blank.len()].copy_from_slice(blank);
        let mut done = Decoded { packed: 1, aligned: layout.fixed_size as usize, time: None, cpu: 0 };
        for (index, step) in steps.iter().enumerate() {
            let at = done.packed;
            let rest = bytes.get(at..).unwrap_or_default();
            let slot = &mut record[step.offset..];
            done.packed += match step.ty {
                FieldType::Int { size, .. } => {
                    let value = match size {
                        1 => number::<1>(rest, slot),
                        2 => number::<2>(rest, slot),
                        4 => number::<4>(rest, slot),
                        _ => number::<8>(rest, slot),
                    };
                    let value = value.ok_or(Stop::Incomplete(index))?;
                    match step.role {
                        Role::Time => done.time = Some(value),
                        Role::Cpu => done.cpu = u16::try_from(value).map_err(|_| no_cpu(layout, at, index, value))?,
                        Role::Capture | Role::Key => {}
                    }
                    usize::from(size)
                }
                FieldType::Name => number::<2>(rest, slot).map(|_| 2).ok_or(Stop::Incomplete(index))?,
                FieldType::FixedString { size } => {
                    let text = string(layout, rest, usize::from(size), at, index)?;
                    let (used, unused) = slot[..usize::from(size)].split_at_mut(text.len());
                    used.copy_from_slice(text);
                    unused.fill(0);
                    text.len() + 1
                }
                FieldType::String { limit } => {
                    let text = string(layout, rest, limit as usize, at, index)?;
                    append(record, &mut done.aligned, step.offset, text);
                    text.len() + 1
                }
                FieldType::Bytes { limit } => {
                    let (&length, rest) = rest.split_first_chunk::<2>().ok_or(Stop::Incomplete(index))?;
                    let length = usize::from(u16::from_le_bytes(length));
                    if length > limit as usize {
                        let name = name(layout, index);
                        let message = format!("{name} claims {length} bytes, and has at most {limit}");
                        return Err(Stop::Garbage(at, message));
                    }
                    let text = rest.get(..length).ok_or(Stop::Incomplete(index))?;
                    append(record, &mut done.aligned, step.offset, text);
                    length + PACKED_BYTES_PREFIX as usize
                }
                FieldType::Stack { space } => {
                    let (&count, rest) = rest.split_first().ok_or(Stop::Incomplete(index))?;
                    if u32::from(count) > MAX_FRAMES {
                        let name = name(layout, index);
                        let message = format!("{name} claims {count} frames, and has at most {MAX_FRAMES}");
                        return Err(Stop::Garbage(at, message));
                    }
                    let frames = rest.as_chunks::<8>().0.get(..usize::from(count)).ok_or(Stop::Incomplete(index))?;
                    let hash = match space {
                        StackSpace::Kernel => recent.intern(frames),
                        StackSpace::User => recent.intern_user(frames),
                    };
                    slot[..8].copy_from_slice(&hash.to_le_bytes());
                    1 + 8 * frames.len()
                }
            };
        }
        Ok(done)
    }
}

/// The bytes before the NUL.
#[inline]
fn string<'a>(layout: &EventLayout, rest: &'a [u8], limit: usize, at: usize, index: usize) -> Result<&'a [u8], Stop> {
    let reach = &rest[..rest.len().min(limit + 1)];
    match CStr::from_bytes_until_nul(reach) {
        Ok(text) => Ok(text.to_bytes()),
        Err(_) if reach.len() <= limit => Err(Stop::Incomplete(index)),
        Err(_) => Err(Stop::Garbage(at, format!("{} does not end within {limit} bytes", name(layout, index)))),
    }
}

#[cold]
fn no_cpu(layout: &EventLayout, at: usize, index: usize, value: u64) -> Stop {
    Stop::Garbage(at, format!("{} says CPU {value}, and no machine has so many", name(layout, index)))
}

#[cold]
fn name(layout: &EventLayout, index: usize) -> String {
    let field = layout.schema.fields.get(index);
    format!("the field {}", field.map_or("?", |field| field.name.as_str()))
}

/// Copies an integer, and gives it.
#[inline]
fn number<const N: usize>(rest: &[u8], slot: &mut [u8]) -> Option<u64> {
    let bytes = rest.first_chunk::<N>()?;
    *slot.first_chunk_mut::<N>()? = *bytes;
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

/// Puts bytes into the tail, and their place into their slot.
#[inline]
fn append(record: &mut [u8], end: &mut usize, slot: usize, text: &[u8]) {
    let padded = text.len().next_multiple_of(8);
    let place = &mut record[*end..*end + padded];
    place[..text.len()].copy_from_slice(text);
    place[text.len()..].fill(0);
    // Layouts keep both within their bits: 16 for the place, 15 for the length.
    let value = *end as u32 | (text.len() as u32) << 16;
    record[slot..slot + 4].copy_from_slice(&value.to_le_bytes());
    *end += padded;
}

#[cold]
fn wrong(offset: u64, message: String) -> Error {
    Error::Stream { offset, message }
}

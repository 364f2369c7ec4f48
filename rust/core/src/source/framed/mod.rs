//! The framed stream of a generated SystemTap script. In: bytes, in pieces of any size, whole or damaged. Out: aligned
//! records in a [`Run`], and what the script says of itself in an [`Account`].
//!
//! Each firing of a probe writes one frame, all of it little-endian: the bytes `SP`, a `u16` length, so many bytes of
//! payload (a packed record), a `u32` check (`sum`), and bytes of any value up to the next place where eight bytes and
//! the frame make a multiple of 16. The event id 0 marks what the script says of itself (`control`).
//!
//! SystemTap's transport drops and tears frames, so nothing is believed that doesn't hold: at a place that is no frame the
//! source goes on to the next one that is, and counts the gap and the bytes. It never ends for what it reads; what is
//! missing is known from the script's own numbers. What the check leaves out is that of strings all but their lengths
//! count for nothing, and of integers all but the low 32 bits: it is made for pieces that are missing or out of place,
//! and not for bytes that somebody changed.
//!
//! Once warm nothing is allocated per event.

mod account;
mod bulk;
mod control;
mod sum;
mod tally;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use account::{Account, Numbers};
pub use bulk::Bulk;
pub use tally::Schemas;

use self::account::State as Heard;
use self::control::Control;
use self::sum::Sum;
use self::tally::Tallies;
use super::buffer::{Buffer, Filled};
use super::packed::{Clock, Decoded, Plan, Recent};
use super::{Progress, Run, Source};
use crate::error::Error;
use crate::stack::StackTable;

/// What a frame begins with.
pub const MAGIC: [u8; 2] = *b"SP";
/// Bytes before the payload: the magic and the length.
const HEAD: usize = 4;
/// Bytes behind it: the check.
const CHECK: usize = 4;
/// What the check begins with.
const CHECK_BASE: u32 = 0x5350_494C;
/// Frames and the transport's eight bytes for each fill multiples of so many bytes.
const GRAIN: usize = 16;
/// Bytes asked for at a time, as much as a pipe can be made to hold.
const CHUNK: usize = 256 << 10;
/// A read that gives less has found all there was.
const FULL: usize = 16 << 10;
/// A stream that was silent for so long has brought everything that happened before.
const SILENCE: Duration = Duration::from_millis(50);

/// After so long what others have brought meanwhile says how far a silent stream is, where each CPU has one.
const APART: Duration = Duration::from_millis(200);

/// Where a framed stream's bytes come from.
pub trait Input: Read + Send {
    /// Waits for more, for a time. False for one that can't: then the caller pauses.
    fn wait(&mut self, at_most: Duration) -> bool {
        let _ = at_most;
        false
    }
}

impl Input for &[u8] {}
impl Input for io::Empty {}

/// A framed stream.
pub struct FramedSource<R> {
    reader: R,
    frames: Frames,
    buffer: Buffer,
    /// Bytes of padding where the buffer begins.
    pad: usize,
    /// Behind them, or among them, is no frame.
    is_lost: bool,
    /// The script has said here that it ends: what SystemTap itself prints behind that is not for us.
    is_over: bool,
    clock: Clock,
    state: State,
    /// When bytes came last.
    heard_at: Instant,
    /// When the others were looked at last, and how far they were.
    noted: (Instant, u64),
    settled: u64,
    account: Arc<Account>,
}

enum State {
    /// There may be more.
    Reading,
    /// The buffer holds frames that the last run had no room for.
    Paused,
    /// The reader has ended.
    Ended,
    /// The stream can't be read on.
    Failed(Error),
}

/// Everything that frames may hold.
struct Frames {
    events: Vec<Option<Known>>,
    tallies: Tallies,
    recent: Recent,
    /// Bytes of the longest payload.
    longest: usize,
}

/// An event, or a table's row.
struct Known {
    plan: Plan,
    sum: Sum,
    least: usize,
}

/// What is at a place.
enum Found {
    /// A frame that holds, with a payload of so many bytes.
    Frame(usize),
    /// Too little to tell.
    Part,
    /// No frame. With the magic of one, or without.
    Nothing { is_corrupt: bool },
}

impl<R: Input> FramedSource<R> {
    /// A stream of events with these schemas. Refuses one that packed or aligned records can't hold, and more kinds of
    /// event and table than ids.
    pub fn new(reader: R, schemas: &Schemas, stacks: Arc<StackTable>, account: Arc<Account>) -> Result<Self, Error> {
        let frames = Frames::new(schemas, stacks)?;
        let clock = Clock::new(frames.events.iter().flatten().map(|known| &known.plan));
        let buffer = Buffer::with_room(CHUNK + frames.longest);
        Ok(Self {
            reader,
            frames,
            buffer,
            pad: 0,
            is_lost: false,
            is_over: false,
            clock,
            state: State::Reading,
            heard_at: Instant::now(),
            noted: (Instant::now(), 0),
            settled: 0,
            account,
        })
    }

    /// Reads once. Whether that was all there is for now.
    fn fill(&mut self) -> Result<bool, Error> {
        let read = self.buffer.fill(&mut self.reader).map_err(|error| {
            let offset = self.account.numbers().bytes;
            Error::Stream { offset, message: format!("the stream can't be read: {error}") }
        })?;
        Ok(match read {
            Filled::Bytes { count, .. } => {
                self.heard_at = Instant::now();
                count < FULL
            }
            Filled::Nothing => true,
            Filled::Ended => {
                self.state = State::Ended;
                true
            }
        })
    }

    /// Decodes every frame that was read. Whether the run is full before that.
    fn decode(&mut self, run: &mut Run) -> bool {
        let Self { frames, clock, account, .. } = self;
        let mut heard = account.lock();
        let bytes = self.buffer.filled();
        let has_ended = !matches!(self.state, State::Reading | State::Paused);
        let (start, mut at, mut pad) = (self.buffer.from, self.buffer.from, self.pad);
        let is_full = loop {
            if run.is_full() {
                break true;
            }
            if self.is_over {
                at = bytes.len();
                break false;
            }
            let place = if self.is_lost { at } else { at + pad };
            let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) else { break false };
            let is_corrupt = match frames.look(rest) {
                Found::Frame(length) => {
                    if frames.take(rest, length, run, clock, &mut heard) {
                        heard.numbers.frames += 1;
                        self.is_lost = false;
                        self.is_over = control::is_end(&rest[HEAD..HEAD + length]);
                        at = place + HEAD + length + CHECK;
                        pad = length.wrapping_neg() % GRAIN;
                        continue;
                    }
                    true
                }
                Found::Part if !has_ended => break false,
                Found::Part => true,
                Found::Nothing { is_corrupt } => is_corrupt,
            };
            if !std::mem::replace(&mut self.is_lost, true) {
                heard.numbers.gaps += 1;
                if pad > 0 {
                    // Perhaps what is missing begins in the padding.
                    continue;
                }
            }
            let next = 1 + next_magic(&rest[1..]);
            heard.numbers.corrupt += u64::from(is_corrupt);
            heard.numbers.skipped += next.saturating_sub(pad) as u64;
            pad = pad.saturating_sub(next);
            at = place + next;
        };
        heard.numbers.bytes += (at - start) as u64;
        heard.latest = heard.latest.max(clock.behind());
        (self.buffer.from, self.pad) = (at, pad);
        is_full
    }

    /// Every event with an earlier time has been read, as far as one can know.
    fn watermark(&mut self) -> u64 {
        if matches!(self.state, State::Ended) {
            return u64::MAX;
        }
        if self.heard_at.elapsed() > SILENCE {
            self.settled = self.settled.max(self.clock.behind());
        }
        if self.heard_at.elapsed() > APART && self.noted.0.elapsed() > APART {
            self.settled = self.settled.max(self.noted.1);
            self.noted = (Instant::now(), self.account.lock().latest);
        }
        self.clock.watermark().max(self.settled)
    }
}

/// Bytes before the next place where a frame could begin.
fn next_magic(bytes: &[u8]) -> usize {
    let is_magic = |pair: &[u8]| pair == MAGIC;
    match bytes.windows(2).position(is_magic) {
        Some(place) => place,
        None => bytes.len() - usize::from(bytes.last() == Some(&MAGIC[0])),
    }
}

impl<R: Input> Source for FramedSource<R> {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let outcome = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Reading => self.fill(),
            State::Paused => Ok(false),
            State::Ended => Ok(true),
        };
        if matches!(self.state, State::Paused) {
            self.state = State::Reading;
        }
        // What was read before an error comes first.
        let is_full = self.decode(run);
        let is_drained = outcome.inspect_err(|error| self.state = State::Failed(error.clone()))?;
        let ended = matches!(self.state, State::Ended) && !is_full;
        if is_full && matches!(self.state, State::Reading) {
            self.state = State::Paused;
        }
        let watermark = if ended { u64::MAX } else { self.watermark() };
        Ok(Progress { drained: is_drained && !is_full, ended, watermark })
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        if let Some(known) = self.frames.events.get_mut(usize::from(id)).and_then(Option::as_mut) {
            known.plan.project(columns);
        }
    }

    fn wait(&mut self, at_most: Duration) -> bool {
        self.reader.wait(at_most)
    }
}

impl Frames {
    fn new(schemas: &Schemas, stacks: Arc<StackTable>) -> Result<Self, Error> {
        let mut events: Vec<Option<Known>> = Vec::new();
        let mut longest = control::LONGEST;
        for layout in schemas.packed()?.iter() {
            let id = usize::from(layout.schema.id);
            events.resize_with(events.len().max(id + 1), || None);
            let known = Known::new(layout)?;
            longest = longest.max(known.plan.longest);
            events[id] = Some(known);
        }
        let tallies = Tallies::new(&schemas.packed_rows()?)?;
        longest = longest.max(tallies.longest());
        Ok(Self { events, tallies, recent: Recent::new(stacks), longest })
    }

    /// What `rest`, which isn't empty, begins with.
    #[inline]
    fn look(&self, rest: &[u8]) -> Found {
        let Some((&[s, p, low, high], behind)) = rest.split_first_chunk::<HEAD>() else {
            let is_begun = MAGIC.starts_with(&rest[..rest.len().min(2)]);
            return if is_begun { Found::Part } else { Found::Nothing { is_corrupt: false } };
        };
        if [s, p] != MAGIC {
            return Found::Nothing { is_corrupt: false };
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(&id) = behind.first() else { return Found::Part };
        let known = self.events.get(usize::from(id)).and_then(Option::as_ref);
        let (least, most) = match known {
            Some(known) => (known.least, known.plan.longest),
            None if id == control::ID => (control::SHORTEST, self.longest),
            None => return Found::Nothing { is_corrupt: true },
        };
        if length < least || length > most {
            return Found::Nothing { is_corrupt: true };
        }
        let Some(record) = behind.get(..length + CHECK) else { return Found::Part };
        let sum = match known {
            Some(known) => known.sum.of(record),
            None => control::sum(record, &self.tallies),
        };
        let is_whole = sum.is_some_and(|sum| {
            let check = CHECK_BASE.wrapping_add(length as u32).wrapping_add(sum);
            record.last_chunk() == Some(&check.to_le_bytes())
        });
        if is_whole { Found::Frame(length) } else { Found::Nothing { is_corrupt: true } }
    }

    /// Takes in the frame that `rest` begins with. False if it can't be, though its check holds.
    #[inline]
    fn take(&mut self, rest: &[u8], length: usize, run: &mut Run, clock: &mut Clock, heard: &mut Heard) -> bool {
        let Some(&id) = rest.get(HEAD) else { return false };
        let Some(known) = self.events.get(usize::from(id)).and_then(Option::as_ref) else {
            let payload = &rest[HEAD..HEAD + length];
            return match Control::parse(payload) {
                Some(Control::Tally(tally)) => self.tallies.take(tally, run, &mut self.recent, heard),
                Some(control) => heard.hear(control),
                None => false,
            };
        };
        // Up to the first byte: that is one record, and the check has shown how long it is.
        if known.plan.rows(&rest[HEAD..], 1, &mut self.recent, clock, run) > 0 {
            heard.count(id);
            return true;
        }
        let record = run.room(known.plan.room);
        // Behind the record there are bytes, which the short way of decoding needs; it doesn't look at them.
        match known.plan.transcode(&rest[HEAD..], record, &mut self.recent) {
            Ok(Decoded { packed, aligned, time, cpu }) if packed == length => {
                clock.stamp(time, record);
                run.commit(aligned, cpu, u16::from(id));
                heard.count(id);
                true
            }
            _ => false,
        }
    }
}

impl Known {
    fn new(layout: &crate::layout::EventLayout) -> Result<Self, Error> {
        Ok(Self { plan: Plan::new(layout)?, sum: Sum::new(layout), least: layout.fixed_size as usize })
    }
}

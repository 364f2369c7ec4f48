//! Stretches of compact records: those that one CPU's programs committed, one behind the other. In: words, of a mapped ring or
//! of a recording. Out: how far records go there, and each of them with its layout and its whole time.
//!
//! A time is told by its low bits and the last whole time before it, from which it is never half of what they hold away. So a
//! stretch can be copied as it is, and its records be read, or not, later and elsewhere.

use crate::event::Layouts;
use crate::layout::{COMPACT_BASE, COMPACT_BASE_SIZE, COMPACT_BASE_TIME, EventLayout};

/// Committed records of one CPU, in the order in which they were reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// Where they happened.
    pub cpu: u16,
    /// The last whole time before them.
    pub near: u64,
    /// How many of the records are events.
    pub events: u32,
    /// The records, those of whole times included.
    pub bytes: &'a [u8],
}

/// An event of a stretch.
#[derive(Debug, Clone, Copy)]
pub struct Compact<'a> {
    /// Its layout.
    pub layout: &'a EventLayout,
    /// Its whole time.
    pub time: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// How far records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of whole records.
    pub length: usize,
    /// How many of them are events.
    pub events: u32,
    /// The last whole time, in them or before them.
    pub near: u64,
    /// What is behind them.
    pub behind: Behind,
}

/// What is behind the records of an [`Extent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// What nobody asked for.
    Unasked,
    /// A record that is not committed yet.
    Uncommitted,
    /// A record of an event that is not known.
    Unknown(u16),
    /// A record of so many bytes, which are not there.
    Short(usize),
}

impl Extent {
    /// Of the records that begin within the first `most` bytes of `there`; `near` is the last whole time before them, and
    /// `word` gives the word at an offset, which is below `most`, or within a record that ends in `there`.
    #[inline]
    pub fn of(layouts: &Layouts, near: u64, most: usize, there: usize, word: impl Fn(usize) -> u64) -> Self {
        let mut extent = Self { length: 0, events: 0, near, behind: Behind::Unasked };
        while extent.length < most {
            let first = word(extent.length);
            let size = layouts.compact_size(id_of(first));
            if size == 0 {
                match (first, id_of(first)) {
                    (0, _) => extent.behind = Behind::Uncommitted,
                    (_, COMPACT_BASE) if there - extent.length >= WHOLE_TIME => {
                        extent.near = word(extent.length + COMPACT_BASE_TIME as usize);
                        extent.length += WHOLE_TIME;
                        continue;
                    }
                    (_, COMPACT_BASE) => extent.behind = Behind::Short(WHOLE_TIME),
                    (_, id) => extent.behind = Behind::Unknown(id),
                }
                break;
            }
            if size > there - extent.length {
                extent.behind = Behind::Short(size);
                break;
            }
            extent.length += size;
            extent.events += 1;
        }
        extent
    }
}

impl<'a> Stretch<'a> {
    /// So many bytes are looked at before anybody gets them: few enough to be still in the cache then.
    pub const MOST: usize = 32 << 10;

    /// Of the records that bytes from anywhere begin with, and what is behind these.
    pub fn of(layouts: &Layouts, cpu: u16, near: u64, bytes: &'a [u8]) -> (Self, Behind) {
        let Extent { length, events, behind, .. } =
            Extent::of(layouts, near, bytes.len(), bytes.len(), |offset| word(bytes, offset).unwrap_or_default());
        (Self { cpu, near, events, bytes: bytes.get(..length).unwrap_or_default() }, behind)
    }

    /// Its events.
    #[inline]
    pub fn records<'l: 'a>(&self, layouts: &'l Layouts) -> impl Iterator<Item = Compact<'a>> + use<'a, 'l> {
        let (mut near, mut rest) = (self.near, self.bytes);
        std::iter::from_fn(move || {
            loop {
                let first = word(rest, 0)?;
                let id = id_of(first);
                let size = layouts.compact_size(id);
                if size > 0 {
                    let layout = layouts.get(id)?;
                    let (bytes, behind) = rest.split_at_checked(size)?;
                    rest = behind;
                    return Some(Compact { layout, time: whole(near, first as u32), bytes });
                }
                if id != COMPACT_BASE {
                    return None;
                }
                near = word(rest, COMPACT_BASE_TIME as usize)?;
                rest = rest.get(WHOLE_TIME..)?;
            }
        })
    }
}

const WHOLE_TIME: usize = COMPACT_BASE_SIZE as usize;

#[inline]
fn id_of(first: u64) -> u16 {
    (first >> 32) as u16
}

#[inline]
fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The time with these low bits that is nearest to another one.
#[inline]
fn whole(near: u64, low: u32) -> u64 {
    let ahead = low.wrapping_sub(near as u32).cast_signed();
    near.wrapping_add_signed(i64::from(ahead))
}

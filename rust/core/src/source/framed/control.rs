//! What a generated script says of itself: frames with the event id 0. In: a payload. Out: a [`Control`].
//!
//! Behind the id a `u8` kind, then: 1, all probes are attached; 2, an event's numbers since the start (`u8` id, `u64` hits,
//! filtered, delivered, faulted, others); 3, a row of a table that the script keeps (`u8` probe, `u8` aggregate, the key's
//! parts, what is kept of values, `u64` hits), to be added up; 4, that a table's rows have been written (`u8` probe, `u8` aggregate, `u64` rows,
//! `u64` sum of their hits); 5, the script has come to its end; 7, what became of the hits of a span's target (`u8`
//! probe, `u8` target, `u64` unmatched, opened, already open, open full, overwritten, filtered, faulted).

use super::tally::Tallies;

/// The event id of such frames.
pub(super) const ID: u8 = 0;
/// Bytes of the shortest one's payload.
pub(super) const SHORTEST: usize = 2;
/// Bytes of the longest one's, table rows left aside.
pub(super) const LONGEST: usize = 4 + 7 * size_of::<u64>();

const READY: u8 = 1;
const LEDGER: u8 = 2;
const TALLY: u8 = 3;
const DUMP: u8 = 4;
const END: u8 = 5;
const SPAN: u8 = 7;

/// An event's numbers, since the start, as the script counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counted {
    pub(super) hits: u64,
    pub(super) filtered: u64,
    pub(super) delivered: u64,
    pub(super) faulted: u64,
    pub(super) others: u64,
}

/// What became of the hits of one target of a span that no event tells of: since the start, as the script counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Paired {
    pub(super) unmatched: u64,
    pub(super) opened: u64,
    pub(super) already_open: u64,
    pub(super) open_full: u64,
    pub(super) overwritten: u64,
    pub(super) filtered: u64,
    pub(super) faulted: u64,
}

impl Counted {
    /// Of two tellings the later: numbers only grow. Where each CPU has a stream, the later may be read first.
    pub(super) fn later(self, other: Self) -> Self {
        Self {
            hits: self.hits.max(other.hits),
            filtered: self.filtered.max(other.filtered),
            delivered: self.delivered.max(other.delivered),
            faulted: self.faulted.max(other.faulted),
            others: self.others.max(other.others),
        }
    }
}

impl Paired {
    /// As [`Counted::later`].
    pub(super) fn later(self, other: Self) -> Self {
        Self {
            unmatched: self.unmatched.max(other.unmatched),
            opened: self.opened.max(other.opened),
            already_open: self.already_open.max(other.already_open),
            open_full: self.open_full.max(other.open_full),
            overwritten: self.overwritten.max(other.overwritten),
            filtered: self.filtered.max(other.filtered),
            faulted: self.faulted.max(other.faulted),
        }
    }
}

/// A table that the script keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TableId {
    pub(super) probe: u8,
    pub(super) aggregate: u8,
}

/// What such a frame says.
pub(super) enum Control<'a> {
    Ready,
    Ledger(u8, Counted),
    /// The payload behind the kind.
    Tally(&'a [u8]),
    Dump {
        table: TableId,
        rows: u64,
        sum: u64,
    },
    /// Probe and target.
    Span([u8; 2], Paired),
    End,
}

impl<'a> Control<'a> {
    /// None for one of another kind or length.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        Some(match *payload {
            [ID, READY] => Self::Ready,
            [ID, END] => Self::End,
            [ID, TALLY, ref tally @ ..] => Self::Tally(tally),
            [ID, LEDGER, event, ref words @ ..] => {
                let [hits, filtered, delivered, faulted, others] = integers(words)?;
                Self::Ledger(event, Counted { hits, filtered, delivered, faulted, others })
            }
            [ID, DUMP, probe, aggregate, ref words @ ..] => {
                let [rows, sum] = integers(words)?;
                Self::Dump { table: TableId { probe, aggregate }, rows, sum }
            }
            [ID, SPAN, probe, target, ref words @ ..] => {
                let [unmatched, opened, already_open, open_full, overwritten, filtered, faulted] = integers(words)?;
                let paired = Paired { unmatched, opened, already_open, open_full, overwritten, filtered, faulted };
                Self::Span([probe, target], paired)
            }
            _ => return None,
        })
    }
}

/// Whether this is the script's last word.
pub(super) fn is_end(payload: &[u8]) -> bool {
    payload == [ID, END]
}

/// Exactly so many.
fn integers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: &[[u8; 8]; N] = words.try_into().ok().filter(|_| rest.is_empty())?;
    Some(words.map(u64::from_le_bytes))
}

/// The sum of a payload, to hold against its check; none if it says nothing. `record` is the payload and the check.
pub(super) fn sum(record: &[u8], tallies: &Tallies) -> Option<u32> {
    let payload = record.get(..record.len().checked_sub(super::CHECK)?)?;
    let low = |word: u64| word as u32;
    let values = match Control::parse(payload)? {
        Control::Ready => u32::from(READY),
        Control::End => u32::from(END),
        Control::Ledger(event, Counted { hits, filtered, delivered, faulted, others }) => {
            let words = [hits, filtered, delivered, faulted, others].map(low);
            words.into_iter().fold(u32::from(LEDGER) + u32::from(event), u32::wrapping_add)
        }
        Control::Dump { table: TableId { probe, aggregate }, rows, sum } => {
            (u32::from(DUMP) + u32::from(probe) + u32::from(aggregate)).wrapping_add(low(rows)).wrapping_add(low(sum))
        }
        Control::Span([probe, target], paired) => {
            let Paired { unmatched, opened, already_open, open_full, overwritten, filtered, faulted } = paired;
            let words = [unmatched, opened, already_open, open_full, overwritten, filtered, faulted].map(low);
            let small = u32::from(SPAN) + u32::from(probe) + u32::from(target);
            words.into_iter().fold(small, u32::wrapping_add)
        }
        Control::Tally(_) => u32::from(TALLY).wrapping_add(tallies.sum(record.get(2..)?)?),
    };
    Some(values.wrapping_add(u32::from(ID)))
}

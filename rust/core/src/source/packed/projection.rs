//! The shortest way: of usual records that are only counted, the columns that their keys need. In: packed bytes. Out: rows.
//! Whatever is unusual or wrong is left where it is, for the ways that make records.

use super::recent::Recent;
use super::usual::{Move, REACH, Usual};
use super::{Clock, Step};
use crate::layout::FieldType;
use crate::source::rows::Rows;

/// What is read of a usual record.
pub(super) struct Projection {
    /// In the order of the row, before the stack.
    integers: Box<[Move]>,
    /// Whether the stack ends the row.
    takes_stack: bool,
    /// A CPU's number that must be looked at, for it may be none.
    wide_cpu: Option<Move>,
}

impl Projection {
    /// None for columns that it can't read.
    pub(super) fn new(usual: &Usual, steps: &[Step], columns: &[u32]) -> Option<Self> {
        let mut integers = Vec::with_capacity(columns.len());
        let mut takes_stack = false;
        for &column in columns {
            let step = steps.get(column as usize)?;
            match step.ty {
                // A usual record ends with it.
                FieldType::Stack { .. } => takes_stack = true,
                _ => integers.push(usual.integer(step.offset)?),
            }
        }
        Some(Self { integers: integers.into(), takes_stack, wide_cpu: usual.wide_cpu() })
    }

    /// Reads records of one kind that begin before `until`, one after the other. The bytes that it read.
    #[inline(never)]
    pub(super) fn decode(
        &self,
        usual: &Usual,
        bytes: &[u8],
        until: usize,
        recent: &mut Recent,
        clock: &mut Clock,
        rows: &mut Rows,
    ) -> usize {
        let (mut at, mut count) = (0, 0);
        let id = bytes.first();
        while at < until {
            let Some(rest) = bytes.get(at..) else { break };
            let Some(head) = rest.first_chunk::<REACH>() else { break };
            let Some(size) = self.one(usual, head, rest, recent, rows) else { break };
            clock.next(usual.time(head));
            at += size;
            count += 1;
            if bytes.get(at) != id {
                break;
            }
        }
        rows.end(count);
        at
    }

    #[inline]
    fn one(
        &self,
        usual: &Usual,
        head: &[u8; REACH],
        rest: &[u8],
        recent: &mut Recent,
        rows: &mut Rows,
    ) -> Option<usize> {
        if let Some(cpu) = self.wide_cpu {
            u16::try_from(cpu.value(head)).ok()?;
        }
        let frames = usual.frames(rest)?;
        for integer in &self.integers {
            rows.word(integer.value(head));
        }
        if self.takes_stack {
            rows.word(recent.intern(frames));
        }
        Some(usual.packed(frames))
    }
}

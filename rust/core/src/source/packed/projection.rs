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
        let (mut rest, mut count) = (bytes, 0);
        let least = bytes.len().saturating_sub(until);
        while rest.len() > least
            && let Some(head) = rest.first_chunk::<REACH>()
            && head.first() == bytes.first()
            && let Some((frames, behind)) = usual.frames(rest)
            && self.is_cpu(head)
        {
            for integer in &self.integers {
                rows.word(integer.value(head));
            }
            if self.takes_stack {
                rows.word(recent.intern(frames));
            }
            clock.next(usual.time(head));
            rest = behind;
            count += 1;
        }
        rows.end(count);
        bytes.len() - rest.len()
    }

    #[inline]
    fn is_cpu(&self, head: &[u8; REACH]) -> bool {
        self.wide_cpu.is_none_or(|cpu| u16::try_from(cpu.value(head)).is_ok())
    }
}

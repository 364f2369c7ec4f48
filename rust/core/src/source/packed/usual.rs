//! The short way for records of the usual kind. In: packed bytes. Out: the aligned record, or nothing, and then the general
//! way says why.

use super::recent::Recent;
use super::{Decoded, Step};
use crate::layout::{FieldType, MAX_FRAMES, Role};
use crate::spec::StackSpace;

/// A record of the usual kind: some integers, then at most a stack. The integers' places are known without reading it.
pub(super) struct Usual {
    /// In the order of the aligned record: what one writes behind its integer is overwritten by those after it.
    moves: Box<[Move]>,
    time: Option<Move>,
    cpu: Option<Move>,
    /// Bytes of the packed record up to the end of the integers, the id included.
    size: usize,
    /// The stack's place in the aligned record.
    stack: Option<usize>,
    /// The aligned record, 0 but for the id.
    blank: [u8; REACH],
    /// Its bytes.
    aligned: usize,
}

/// How far into a record the integers of a usual one reach, when packed and when aligned.
pub(super) const REACH: usize = 64;

/// Eight bytes, of which the integer's are taken.
#[derive(Clone, Copy)]
pub(super) struct Move {
    from: usize,
    to: usize,
    mask: u64,
}

impl Usual {
    /// None for a record of another kind.
    pub(super) fn new(steps: &[Step], blank: &[u8]) -> Option<Self> {
        let mut usual = Self {
            moves: Box::default(),
            time: None,
            cpu: None,
            size: 1,
            stack: None,
            blank: [0; REACH],
            aligned: blank.len(),
        };
        usual.blank.get_mut(..blank.len())?.copy_from_slice(blank);
        let mut moves = Vec::new();
        for step in steps {
            let size = match step.ty {
                _ if usual.stack.is_some() => return None,
                FieldType::Int { size, .. } => usize::from(size),
                FieldType::Name => 2,
                // A user stack has its process in front.
                FieldType::Stack { space: StackSpace::User } => return None,
                FieldType::Stack { space: StackSpace::Kernel } => {
                    usual.stack = Some(step.offset);
                    continue;
                }
                FieldType::FixedString { .. } | FieldType::String { .. } | FieldType::Bytes { .. } => return None,
            };
            let one = Move { from: usual.size, to: step.offset, mask: u64::MAX >> (64 - 8 * size) };
            if one.from.max(one.to) + size_of::<u64>() > REACH {
                return None;
            }
            match step.role {
                Role::Time => usual.time = Some(one),
                Role::Cpu => usual.cpu = Some(one),
                Role::Capture | Role::Key => {}
            }
            moves.push(one);
            usual.size += size;
        }
        moves.sort_unstable_by_key(|one| one.to);
        usual.moves = moves.into();
        Some(usual)
    }

    /// As [`Plan::decode`] does it, only faster. None for a record that isn't whole or isn't right, and at the very end of
    /// what was read.
    #[inline]
    pub(super) fn decode(&self, bytes: &[u8], record: &mut [u8], recent: &mut Recent) -> Option<Decoded> {
        let head = bytes.first_chunk::<REACH>()?;
        let fixed = record.first_chunk_mut::<REACH>()?;
        *fixed = self.blank;
        for one in &self.moves {
            one.copy(head, fixed);
        }
        let (time, cpu) = (self.time(head), self.cpu(head)?);
        let (frames, behind) = self.frames(bytes)?;
        if let Some(offset) = self.stack {
            fixed.get_mut(offset..offset + 8)?.copy_from_slice(&recent.intern(frames).to_le_bytes());
        }
        Some(Decoded { packed: bytes.len() - behind.len(), aligned: self.aligned, time, cpu })
    }

    #[inline]
    pub(super) fn time(&self, head: &[u8; REACH]) -> Option<u64> {
        self.time.map(|one| one.value(head))
    }

    /// Where a CPU's number is that may be none.
    pub(super) fn wide_cpu(&self) -> Option<Move> {
        self.cpu.filter(|one| one.mask > u64::from(u16::MAX))
    }

    /// None for a number that is no CPU's.
    #[inline]
    pub(super) fn cpu(&self, head: &[u8; REACH]) -> Option<u16> {
        u16::try_from(self.cpu.map_or(0, |one| one.value(head))).ok()
    }

    /// The stack at the record's end, without one no frames, and what is behind it. None for a stack that isn't whole or
    /// isn't right.
    #[inline]
    pub(super) fn frames<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [[u8; 8]], &'a [u8])> {
        let rest = bytes.get(self.size..)?;
        if self.stack.is_none() {
            return Some((&[], rest));
        }
        let (&count, rest) = rest.split_first()?;
        let (frames, behind) = rest.split_at_checked(8 * usize::from(count))?;
        (u32::from(count) <= MAX_FRAMES).then_some((frames.as_chunks().0, behind))
    }

    /// Where an integer is that has this place in the aligned record.
    pub(super) fn integer(&self, to: usize) -> Option<Move> {
        self.moves.iter().copied().find(|one| one.to == to)
    }
}

impl Move {
    #[inline]
    pub(super) fn value(self, head: &[u8; REACH]) -> u64 {
        let word = head.get(self.from..self.from + 8).and_then(|word| word.first_chunk());
        word.map_or(0, |word| u64::from_le_bytes(*word) & self.mask)
    }

    #[inline]
    fn copy(self, head: &[u8; REACH], fixed: &mut [u8; REACH]) {
        if let Some(place) = fixed.get_mut(self.to..self.to + 8) {
            place.copy_from_slice(&self.value(head).to_le_bytes());
        }
    }
}

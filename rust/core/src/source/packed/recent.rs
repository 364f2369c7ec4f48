//! A cache of stacks. In: frames. Out: their hash, nearly always without computing it.

use std::sync::Arc;

use crate::stack::StackTable;

/// Slots of the cache of stacks seen lately.
const RECENT: usize = 4096;
/// Slots that a stack may be in.
const WAYS: usize = 4;
/// Guesses at their places.
const GUESSES: usize = 16 * RECENT;

/// Stacks seen lately: nearly every stack is one of them, and needs neither a lock nor its content hash, each step of
/// which waits for the one before it.
pub(in crate::source) struct Recent {
    stacks: Arc<StackTable>,
    /// Where a stack was last, by a few of its frames: a guess, which is right nearly always.
    places: Box<[u16; GUESSES]>,
    /// By all frames.
    slots: Box<[Known]>,
}

#[derive(Default, Clone)]
struct Known {
    hash: u64,
    frames: Box<[[u8; 8]]>,
}

/// Odd, and without a pattern: digits of pi.
const FACTORS: [u64; 8] = [
    0x243F_6A88_85A3_08D3,
    0x1319_8A2E_0370_7345,
    0xA409_3822_299F_31D1,
    0x082E_FA98_EC4E_6C89,
    0x4528_21E6_38D0_1377,
    0xBE54_66CF_34E9_0C6D,
    0xC0AC_29B7_C97C_50DD,
    0x3F84_D5B5_B547_0917,
];

impl Recent {
    pub(in crate::source) fn new(stacks: Arc<StackTable>) -> Self {
        Self { stacks, places: Box::new([0; GUESSES]), slots: vec![Known::default(); RECENT].into() }
    }

    /// The hash of these frames; 0 for none.
    #[inline]
    pub(super) fn intern(&mut self, frames: &[[u8; 8]]) -> u64 {
        let known = self.slots.get(usize::from(self.places[hint(frames)]));
        match known.filter(|known| is_same(&known.frames, frames)) {
            Some(known) => known.hash,
            None => self.search(frames),
        }
    }

    /// The hash of a user stack, whose first word is its process; 0 for none. They are few: none of them is kept here.
    pub(super) fn intern_user(&self, words: &[[u8; 8]]) -> u64 {
        let word = |word: &[u8; 8]| u64::from_le_bytes(*word);
        match words {
            [] | [_] => 0,
            [process, frames @ ..] => self.stacks.intern(word(process) as u32, frames.iter().map(word)),
        }
    }

    #[inline(never)]
    fn search(&mut self, frames: &[[u8; 8]]) -> u64 {
        if frames.is_empty() {
            return 0;
        }
        let place = &mut self.places[hint(frames)];
        match self.slots.get(usize::from(*place)) {
            Some(known) if *known.frames == *frames => known.hash,
            _ => look_up(&self.stacks, &mut self.slots, place, frames),
        }
    }
}

/// Whether stacks of a usual depth are the same, without a branch on it: it changes from one to the next, and would be
/// mispredicted. Four blocks that overlap make do.
#[inline]
fn is_same(known: &[[u8; 8]], frames: &[[u8; 8]]) -> bool {
    let count = frames.len();
    let Some(last) = count.checked_sub(4).filter(|last| *last <= 12 && known.len() == count) else { return false };
    let same = |at| block(known, at) == block(frames, at);
    same(0) & same(last.min(4)) & same(last.min(8)) & same(last)
}

/// Four frames.
#[inline]
fn block(frames: &[[u8; 8]], at: usize) -> Option<&[u8; 32]> {
    frames.get(at..at + 4)?.as_flattened().first_chunk()
}

/// By all frames. A stack has a few slots; a new one takes the first, and what was there moves on by one.
#[inline(never)]
fn look_up(stacks: &StackTable, slots: &mut [Known], place: &mut u16, frames: &[[u8; 8]]) -> u64 {
    let first = sum(frames) & !(WAYS - 1);
    let ways = &mut slots[first..first + WAYS];
    let found = ways.iter().position(|known| *known.frames == *frames);
    let way = found.unwrap_or_else(|| {
        ways.rotate_right(1);
        ways[0] = Known { hash: define(stacks, frames), frames: frames.into() };
        0
    });
    *place = (first + way) as u16;
    ways[way].hash
}

/// Where the place is noted: a sum over the length and four frames, the outermost ones not among them, for they are
/// the same in nearly every stack.
#[inline]
fn hint(frames: &[[u8; 8]]) -> usize {
    let count = frames.len();
    let frame = |index: usize| frames.get(index).map_or(0, |frame| u64::from_le_bytes(*frame));
    let (first, middle) = (frame(0), frame(count / 2));
    let (before, behind) = (frame(count / 4), frame(count / 2 + count / 4));
    let mixed = first ^ before.rotate_left(17) ^ middle.rotate_left(34) ^ behind.rotate_left(51);
    ((mixed ^ count as u64).wrapping_mul(FACTORS[0]) >> (u64::BITS - GUESSES.ilog2())) as usize
}

/// A slot: products that don't wait for each other, added up. The number of frames changes from stack to stack, and a
/// loop over it would be mispredicted each time: blocks of four or eight that overlap at the end need none, or few turns.
#[inline]
fn sum(frames: &[[u8; 8]]) -> usize {
    let sum = match (frames.first_chunk::<4>(), frames.last_chunk::<4>(), frames.last_chunk::<8>()) {
        (Some(first), Some(last), _) if frames.len() <= 8 => {
            products(first, 0).wrapping_add(products(last, 4)).wrapping_add(frames.len() as u64)
        }
        (_, _, Some(last)) => {
            let blocks = frames.as_chunks::<8>().0.iter().map(|block| products(block, 0));
            blocks.fold(products(last, 0), |sum, block| sum.rotate_left(1).wrapping_add(block))
        }
        _ => products(frames, 0),
    };
    (sum >> (u64::BITS - RECENT.ilog2())) as usize
}

#[inline]
fn products(frames: &[[u8; 8]], first: usize) -> u64 {
    let factors = FACTORS.iter().skip(first);
    let products = frames.iter().zip(factors).map(|(frame, factor)| u64::from_le_bytes(*frame).wrapping_mul(*factor));
    products.fold(0, u64::wrapping_add)
}

#[cold]
fn define(stacks: &StackTable, frames: &[[u8; 8]]) -> u64 {
    stacks.intern(0, frames.iter().map(|frame| u64::from_le_bytes(*frame)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::hash_frames;

    /// Every depth and every frame: what differs in one frame alone is another stack, before and after it is known.
    #[test]
    fn stacks_are_told_apart_by_any_frame() {
        let mut recent = Recent::new(Arc::default());
        for count in 0..=127_u64 {
            let stack =
                |changed: u64| -> Vec<u64> { (0..count).map(|at| at * 16 + u64::from(at == changed)).collect() };
            for _ in 0..2 {
                for changed in 0..=count {
                    let frames: Vec<[u8; 8]> = stack(changed).into_iter().map(u64::to_le_bytes).collect();
                    let hash = if count == 0 { 0 } else { hash_frames(0, stack(changed).into_iter()) };
                    assert_eq!(recent.intern(&frames), hash, "{count} frames, the {changed}th another");
                }
            }
        }
    }
}

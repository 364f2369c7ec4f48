//! Keys of tables: a tuple of words, whatever the widths of the columns that they came from.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::event::Value;
use crate::spec::StackSpace;
use crate::words::text;

/// A part of a key, as a script sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Any integer that isn't negative.
    Unsigned(u64),
    /// A negative one.
    Negative(i64),
    /// Bytes.
    Text(Box<[u8]>),
    /// The name of the target of the event with this id.
    Name(u16),
    /// A kernel stack's content.
    KernelStack(u64),
    /// A user stack's content.
    UserStack(u64),
}

/// A part as the table keeps it: strings are interned, so a key stays small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    kind: Kind,
    bits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Negative,
    Text,
    Name,
    KernelStack,
    UserStack,
}

/// One number for a hasher to mix: a column's kinds are two at most, and their bits differ where it matters.
impl Hash for Word {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bits ^ self.kind as u64);
    }
}

impl Word {
    const fn new(kind: Kind, bits: u64) -> Self {
        Self { kind, bits }
    }

    /// An integer that isn't negative.
    #[inline]
    pub(super) const fn unsigned(bits: u64) -> Self {
        Self::new(Kind::Unsigned, bits)
    }

    /// A value that is no string; none for null.
    #[inline]
    pub(super) fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null | Value::String { .. } => return None,
            Value::Unsigned(bits) => Self::new(Kind::Unsigned, bits),
            Value::Signed(value @ 0..) => Self::new(Kind::Unsigned, value.cast_unsigned()),
            Value::Signed(value) => Self::new(Kind::Negative, value.cast_unsigned()),
            Value::Name(id) => Self::new(Kind::Name, u64::from(id)),
            Value::Stack { hash, space: StackSpace::Kernel } => Self::new(Kind::KernelStack, hash),
            Value::Stack { hash, space: StackSpace::User } => Self::new(Kind::UserStack, hash),
        })
    }

    /// For a script, with the text behind the number of one.
    fn part(self, text: impl FnOnce(u64) -> Box<[u8]>) -> Part {
        match self.kind {
            Kind::Unsigned => Part::Unsigned(self.bits),
            Kind::Negative => Part::Negative(self.bits.cast_signed()),
            Kind::Text => Part::Text(text(self.bits)),
            Kind::Name => Part::Name(self.bits as u16),
            Kind::KernelStack => Part::KernelStack(self.bits),
            Kind::UserStack => Part::UserStack(self.bits),
        }
    }
}

impl Part {
    /// What a value is as a part; none for null.
    pub(super) fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::String { bytes, .. } => Some(Self::Text(bytes.into())),
            value => Word::of(value).map(|word| word.part(|_| Box::default())),
        }
    }
}

/// A key of as many words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuple<const N: usize>(pub(super) [Word; N]);

/// Without the length that an array would add, which all have in common.
impl<const N: usize> Hash for Tuple<N> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|word| word.hash(state));
    }
}

/// Strings by number. Copies share the texts.
#[derive(Debug, Clone, Default)]
pub(super) struct Strings {
    numbers: HashMap<Arc<[u8]>, u64, FxBuildHasher>,
    texts: Vec<Arc<[u8]>>,
    /// Short ones seen lately, by their words. Nothing before the first one.
    recent: Vec<Known>,
}

/// A string of two words, as rows have it.
#[derive(Debug, Clone, Copy)]
struct Known {
    words: [u64; 2],
    word: Word,
}

/// Slots for short strings seen lately: a busy machine runs fewer programs at a time.
const RECENT: usize = 256;

/// Where a string of two words is kept.
#[inline]
fn slot([first, second]: [u64; 2]) -> usize {
    // Odd, and without a pattern: digits of pi.
    let mixed = (first ^ second.rotate_left(32)).wrapping_mul(0x243F_6A88_85A3_08D3);
    (mixed >> (u64::BITS - RECENT.ilog2())) as usize
}

impl Strings {
    #[inline]
    fn number(&mut self, text: &[u8]) -> u64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let (number, text) = (self.texts.len() as u64, Arc::<[u8]>::from(text));
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// A value as a word; none for null.
    #[inline]
    pub(super) fn word(&mut self, value: Value<'_>) -> Option<Word> {
        match value {
            Value::String { bytes, .. } => Some(Word::new(Kind::Text, self.number(bytes))),
            value => Word::of(value),
        }
    }

    /// A string that rows have: of two words nearly always one seen lately, whose bytes need not be looked at.
    #[inline(always)]
    pub(super) fn fixed(&mut self, words: &[u64], size: u8) -> Word {
        if let &[first, second] = words
            && let Some(known) = self.recent.get(slot([first, second]))
            && known.words == [first, second]
        {
            return known.word;
        }
        self.look_up(words, size)
    }

    #[cold]
    fn look_up(&mut self, words: &[u64], size: u8) -> Word {
        let word = Word::new(Kind::Text, self.number(text(words, size)));
        if let &[first, second] = words {
            let known = Known { words: [first, second], word };
            self.recent.resize(RECENT, known);
            self.recent[slot(known.words)] = known;
        }
        word
    }

    /// A part as a word; none for a string that never occurred.
    pub(super) fn find(&self, part: &Part) -> Option<Word> {
        Some(match part {
            Part::Unsigned(value) => Word::new(Kind::Unsigned, *value),
            Part::Negative(value) => Word::new(Kind::Negative, value.cast_unsigned()),
            Part::Text(text) => Word::new(Kind::Text, *self.numbers.get(&**text)?),
            Part::Name(id) => Word::new(Kind::Name, u64::from(*id)),
            Part::KernelStack(hash) => Word::new(Kind::KernelStack, *hash),
            Part::UserStack(hash) => Word::new(Kind::UserStack, *hash),
        })
    }

    pub(super) fn part(&self, word: Word) -> Part {
        word.part(|number| self.texts.get(number as usize).map(|text| Box::from(&**text)).unwrap_or_default())
    }
}

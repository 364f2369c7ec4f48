//! Keys of tables: a tuple of words, whatever the widths of the columns that they came from.

use std::hash::{Hash, Hasher};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::event::Value;
use crate::spec::StackSpace;

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
}

/// Strings by number.
#[derive(Debug, Default)]
pub(super) struct Strings {
    numbers: HashMap<Box<[u8]>, u64, FxBuildHasher>,
    texts: Vec<Box<[u8]>>,
}

impl Strings {
    #[inline]
    fn number(&mut self, text: &[u8]) -> u64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u64;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
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

    /// A part as a word; none for a string that never occurred.
    pub(super) fn find(&self, part: &Part) -> Option<Word> {
        Some(match part {
            Part::Unsigned(value) => Word::new(Kind::Unsigned, *value),
            Part::Negative(value) => Word::new(Kind::Negative, value.cast_unsigned()),
            Part::Text(text) => Word::new(Kind::Text, *self.numbers.get(text)?),
            Part::Name(id) => Word::new(Kind::Name, u64::from(*id)),
            Part::KernelStack(hash) => Word::new(Kind::KernelStack, *hash),
            Part::UserStack(hash) => Word::new(Kind::UserStack, *hash),
        })
    }

    pub(super) fn part(&self, word: Word) -> Part {
        match word.kind {
            Kind::Unsigned => Part::Unsigned(word.bits),
            Kind::Negative => Part::Negative(word.bits.cast_signed()),
            Kind::Text => Part::Text(self.texts.get(word.bits as usize).cloned().unwrap_or_default()),
            Kind::Name => Part::Name(word.bits as u16),
            Kind::KernelStack => Part::KernelStack(word.bits),
            Kind::UserStack => Part::UserStack(word.bits),
        }
    }
}

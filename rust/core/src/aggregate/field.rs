//! Where the parts of a key and a value are: in an event, or in a row: of what is left of one, or from a limited table.
//! In: a record of one of these kinds. Out: its values. What is made of them does not depend on which kind it was.

use super::key::{Strings, Word};
use crate::event::{Column, Event, Value};
use crate::layout::FieldType;
use crate::words::Words;

/// A place in records of one kind.
pub(super) trait Field<'a>: Copy {
    /// What it is a place in.
    type Record: Copy;

    /// What is there.
    fn value(self, record: Self::Record) -> Value<'a>;

    /// The column's type; none where there is no such column.
    fn ty(self) -> Option<FieldType>;

    /// What is there, as part of a key; none for null.
    #[inline(always)]
    fn word(self, record: Self::Record, strings: &mut Strings) -> Option<Word> {
        strings.word(self.value(record))
    }
}

impl<'a> Field<'a> for Option<Column> {
    type Record = &'a Event<'a>;

    #[inline]
    fn value(self, event: &'a Event<'a>) -> Value<'a> {
        self.map_or(Value::Null, |column| event.at(column))
    }

    fn ty(self) -> Option<FieldType> {
        self.map(Column::ty)
    }
}

impl<'a> Field<'a> for Words {
    type Record = &'a [u64];

    #[inline]
    fn value(self, row: &'a [u64]) -> Value<'a> {
        Self::value(self, row)
    }

    fn ty(self) -> Option<FieldType> {
        Some(self.ty)
    }

    #[inline(always)]
    fn word(self, row: &'a [u64], strings: &mut Strings) -> Option<Word> {
        match self.ty {
            FieldType::FixedString { size } => Some(strings.fixed(self.of(row), size)),
            // What most keys are, without a jump by the type.
            FieldType::Int { signed: false, .. } => Some(Word::unsigned(*row.get(self.at)?)),
            ty => Word::of(ty.value(*row.get(self.at)?)),
        }
    }
}

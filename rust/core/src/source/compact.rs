//! The short way for compact records that are only counted. In: a record, as programs write it into a mapped ring. Out: a row
//! of the columns that keys and values need. A record in which one of these could not be read stays one.

use super::rows::Rows;
use crate::event::Column;
use crate::layout::{ALIGNED_NULLS, COMPACT_SHIFT, EventLayout};

/// What is read of the records of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    id: u16,
    /// Bytes of a record, within which all places lie.
    size: usize,
    places: Box<[Place]>,
    /// The null bits of these columns.
    nulls: u16,
}

/// A word that lies within the record, whatever the column's size, and what of it is a word of the column's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    word: usize,
    shift: u32,
    mask: u64,
}

const WORD: usize = size_of::<u64>();
const NULLS: usize = (ALIGNED_NULLS - COMPACT_SHIFT) as usize;

impl Projection {
    /// Of a layout's columns. None where the layout has no compact form.
    pub fn new(layout: &EventLayout, columns: &[u32]) -> Option<Self> {
        if !layout.is_fixed() {
            return None;
        }
        let size = layout.compact_size() as usize;
        let (mut places, mut nulls) = (Vec::with_capacity(columns.len()), 0);
        for &column in columns {
            let bytes = layout.slots.get(column as usize)?.size as usize;
            let column = Column::new(layout, column as usize)?;
            let start = (column.offset() - COMPACT_SHIFT) as usize;
            for offset in (start..start + bytes).step_by(WORD) {
                let (word, width) = (offset.min(size.checked_sub(WORD)?), (start + bytes - offset).min(WORD));
                let place = Place { word, shift: 8 * (offset - word) as u32, mask: u64::MAX >> (64 - 8 * width) };
                places.push(place);
            }
            nulls |= column.null();
        }
        Some(Self { id: layout.schema.id, size, places: places.into(), nulls })
    }

    /// The event.
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Appends the row of a record. False where it has none: a column could not be read, or the record is shorter than its kind.
    #[inline(always)]
    pub(super) fn push(&self, record: &[u8], rows: &mut Rows) -> bool {
        let word =
            |at: usize| record.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |it| u64::from_le_bytes(*it));
        if record.len() < self.size || (word(0) >> (8 * NULLS)) as u16 & self.nulls != 0 {
            return false;
        }
        rows.push(self.places.len(), self.places.iter().map(|place| word(place.word) >> place.shift & place.mask));
        true
    }
}

//! A record, viewed in place. In: the bytes of an aligned record and the session's layouts. Out: typed values.
//!
//! [`Record::parse`] looks at everything that could lead outside of the record, once; after it no access can fail, and
//! nothing is copied or allocated.

use std::collections::HashSet;

use crate::error::Error;
use crate::layout::{
    ALIGNED_HEADER, ALIGNED_ID, ALIGNED_NULLS, ALIGNED_TIME, COMPACT_BASE, Encoding, EventLayout, FieldType,
    STACK_COUNT, STACK_DEFINITION, STACK_HEADER, STACK_PID,
};
use crate::spec::StackSpace;

/// The layouts of a session's events, by id.
#[derive(Debug, Default)]
pub struct Layouts {
    by_id: Vec<Option<EventLayout>>,
    /// Bytes of compact records, by id; 0 where there are none.
    compact_sizes: Vec<u32>,
    /// From here on they are those of tables' rows.
    first_tally: usize,
    /// In the order of events and aggregates.
    spills: Vec<Spill>,
    spill_ids: HashSet<u16>,
}

/// What is sent of a hit that a table in the kernel has no room for: no event, only what one aggregate needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spill {
    /// The id of the hit's event.
    pub event: u16,
    /// The aggregate, among its probe's.
    pub aggregate: usize,
    /// Its own layout. The schema's first key, and first value, are the aggregate's.
    pub layout: EventLayout,
}

impl Spill {
    fn place(&self) -> (u16, usize) {
        (self.event, self.aggregate)
    }
}

impl Layouts {
    /// Refuses two layouts with one id.
    pub fn new(layouts: Vec<EventLayout>) -> Result<Self, Error> {
        Self::with_tallies(layouts, Vec::new())
    }

    /// With layouts of the rows of tables that were counted elsewhere. Their ids come after those of all events.
    pub fn with_tallies(events: Vec<EventLayout>, tallies: Vec<EventLayout>) -> Result<Self, Error> {
        let mut by_id: Vec<Option<EventLayout>> = Vec::new();
        let first_tally = events.iter().map(|layout| usize::from(layout.schema.id) + 1).max().unwrap_or_default();
        for layout in events.into_iter().chain(tallies) {
            let id = usize::from(layout.schema.id);
            if by_id.len() <= id {
                by_id.resize(id + 1, None);
            }
            if by_id[id].is_some() {
                return Err(Error::engine(format!("two events have the id {id}; this is a bug of spile's")));
            }
            by_id[id] = Some(layout);
        }
        let compact_sizes = by_id.iter().map(|layout| layout.as_ref().map_or(0, compact_size)).collect();
        Ok(Self { by_id, compact_sizes, first_tally, spills: Vec::new(), spill_ids: HashSet::new() })
    }

    /// Of events whose aggregates are kept in the kernel, in part or all of them.
    pub fn with_spills(events: Vec<EventLayout>, mut spills: Vec<Spill>) -> Result<Self, Error> {
        let layouts = events.into_iter().chain(spills.iter().map(|spill| spill.layout.clone()));
        let layouts = Self::new(layouts.collect())?;
        spills.sort_by_key(Spill::place);
        let spill_ids = spills.iter().map(|spill| spill.layout.schema.id).collect();
        Ok(Self { spills, spill_ids, ..layouts })
    }

    /// The layout of an event.
    #[inline]
    pub fn get(&self, id: u16) -> Option<&EventLayout> {
        self.by_id.get(usize::from(id))?.as_ref()
    }

    /// Bytes of an event's compact records; 0 where it has none.
    #[inline]
    pub(crate) fn compact_size(&self, id: u16) -> usize {
        self.compact_sizes.get(usize::from(id)).map_or(0, |size| *size as usize)
    }

    /// Those of events, by id.
    pub fn iter(&self) -> impl Iterator<Item = &EventLayout> {
        let events = self.by_id.iter().take(self.first_tally).flatten();
        events.filter(|layout| !self.spill_ids.contains(&layout.schema.id))
    }

    /// What tables in the kernel have no room for.
    pub fn spills(&self) -> &[Spill] {
        &self.spills
    }

    /// Whether an aggregate of an event's is kept in the kernel.
    pub fn is_kept(&self, event: u16, aggregate: usize) -> bool {
        self.spills.binary_search_by_key(&(event, aggregate), Spill::place).is_ok()
    }

    /// Those of tables' rows, by id. The schema's target is the aggregate's index; its fields are one key, and the count.
    pub fn tallies(&self) -> impl Iterator<Item = &EventLayout> {
        self.by_id.iter().skip(self.first_tally).flatten()
    }

    /// One more than the largest id.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Bytes of a layout's compact records; 0 if it has none. One from a file may lie: an aligned record is never longer by more
/// than a word.
fn compact_size(layout: &EventLayout) -> u32 {
    let size = layout.compact_size();
    let is_compact = layout.encoding == Encoding::Aligned && layout.is_fixed() && layout.schema.id != COMPACT_BASE;
    if is_compact && layout.fixed_size <= size + 8 { size } else { 0 }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// It could not be read.
    Null,
    /// An integer without a sign.
    Unsigned(u64),
    /// Two's complement.
    Signed(i64),
    /// Bytes, as the kernel had them.
    String {
        /// Without the NUL.
        bytes: &'a [u8],
        /// Whether there was more.
        cut: bool,
    },
    /// The name of the target of the event with this id.
    Name(u16),
    /// A stack, by its content.
    Stack {
        /// Its identity, a key of [`crate::stack::StackTable`].
        hash: u64,
        /// Whose.
        space: StackSpace,
    },
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Where everything is.
    pub layout: &'a EventLayout,
    /// The CPU that it happened on.
    pub cpu: u16,
    /// The record.
    pub bytes: &'a [u8],
}

/// Where a field of an event is: looked up once for many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    ty: FieldType,
    offset: u32,
    /// Its bit of the null mask, if it has one.
    null: u16,
}

/// Where the bits of an integer are in an event: what [`Event::at`] gives, by a shorter way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerColumn {
    /// Eight bytes of the fixed part that have all of its own.
    word: u32,
    /// Bits of these above it.
    above: u8,
    /// Bits that it has less than 64.
    unused: u8,
    signed: bool,
    null: u16,
}

/// A stack's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// The content's hash.
    pub hash: u64,
    /// The process, or 0 for a kernel stack.
    pub pid: u32,
    frames: &'a [[u8; 8]],
}

impl<'a> Definition<'a> {
    /// The addresses, innermost first.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = u64> + Clone + use<'a> {
        self.frames.iter().map(|frame| u64::from_le_bytes(*frame))
    }
}

/// What a record can be.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// An event.
    Event(Event<'a>),
    /// What a hash in later events stands for.
    Stack(Definition<'a>),
}

impl<'a> Record<'a> {
    /// Looks a record over. An error's offset counts from the record's start.
    #[inline]
    pub fn parse(layouts: &'a Layouts, cpu: u16, bytes: &'a [u8]) -> Result<Self, Error> {
        let Some(id) = read::<2>(bytes, ALIGNED_ID).map(u16::from_le_bytes) else {
            return Err(wrong(0, format!("a record of {} bytes, too short for a header", bytes.len())));
        };
        if id == STACK_DEFINITION {
            return definition(bytes).map(Self::Stack);
        }
        let Some(layout) = layouts.get(id) else {
            return Err(wrong(ALIGNED_ID, format!("an event with the unknown id {id}")));
        };
        check(layout, bytes)?;
        Ok(Self::Event(Event { layout, cpu, bytes }))
    }
}

fn wrong(offset: u32, message: String) -> Error {
    Error::Stream { offset: u64::from(offset), message }
}

#[inline]
fn read<const N: usize>(bytes: &[u8], offset: u32) -> Option<[u8; N]> {
    bytes.get(offset as usize..)?.first_chunk().copied()
}

fn definition(bytes: &[u8]) -> Result<Definition<'_>, Error> {
    let short = || wrong(0, format!("a stack's definition of {} bytes, shorter than it says", bytes.len()));
    let hash = read(bytes, 0).map(u64::from_le_bytes).ok_or_else(short)?;
    let count = read(bytes, STACK_COUNT).map(u16::from_le_bytes).ok_or_else(short)?;
    let pid = read(bytes, STACK_PID).map(u32::from_le_bytes).ok_or_else(short)?;
    let rest = bytes.get(STACK_HEADER as usize..).ok_or_else(short)?;
    let frames = rest.as_chunks::<8>().0.get(..usize::from(count)).ok_or_else(short)?;
    Ok(Definition { hash, pid, frames })
}

#[inline]
fn check(layout: &EventLayout, bytes: &[u8]) -> Result<(), Error> {
    let name = |index: usize| layout.schema.fields[index].name.as_str();
    if layout.encoding != Encoding::Aligned {
        return Err(Error::engine("a packed layout for an aligned record; this is a bug of spile's"));
    }
    if bytes.len() < layout.fixed_size as usize {
        let (id, least) = (layout.schema.id, layout.fixed_size);
        return Err(wrong(0, format!("a record of {} bytes for event {id}, which has at least {least}", bytes.len())));
    }
    if layout.is_fixed() {
        return Ok(());
    }
    for (index, field) in layout.schema.fields.iter().enumerate() {
        if !matches!(field.ty, FieldType::String { .. } | FieldType::Bytes { .. }) {
            continue;
        }
        let at = layout.slots[index].offset.unwrap_or(u32::MAX);
        let Some(slot) = read(bytes, at).map(u32::from_le_bytes) else {
            return Err(wrong(0, format!("no room for the field {}", name(index))));
        };
        let (start, length) = tail(slot);
        if slot != 0 && (start < layout.fixed_size as usize || bytes.len() < start + length) {
            let message =
                format!("the field {} is at {start}, {length} bytes long, outside of its record", name(index));
            return Err(wrong(at, message));
        }
    }
    Ok(())
}

/// Where a variable-length field's bytes are.
#[inline]
fn tail(slot: u32) -> (usize, usize) {
    ((slot & 0xffff) as usize, (slot >> 16 & 0x7fff) as usize)
}

impl Column {
    /// A field's place; none where there is no such field.
    #[inline]
    pub fn new(layout: &EventLayout, index: usize) -> Option<Self> {
        let (field, slot) = (layout.schema.fields.get(index)?, layout.slots.get(index)?);
        let null = if index < 16 { 1 << index } else { 0 };
        Some(Self { ty: field.ty, offset: slot.offset?, null })
    }

    /// Its type.
    #[inline]
    pub fn ty(self) -> FieldType {
        self.ty
    }

    /// Whether a record says that it could not be read.
    #[inline]
    pub(crate) fn is_null(&self, record: &[u8]) -> bool {
        read(record, ALIGNED_NULLS).is_some_and(|nulls| u16::from_le_bytes(nulls) & self.null != 0)
    }

    /// Where it begins in an aligned record.
    pub(crate) fn offset(self) -> u32 {
        self.offset
    }

    /// Its bit of the null mask, or 0 for a column that is never null.
    pub(crate) fn null(self) -> u16 {
        self.null
    }

    /// Its bytes in a record; zeros where there are none.
    #[inline]
    pub(crate) fn bytes_of<const N: usize>(&self, record: &[u8]) -> [u8; N] {
        read(record, self.offset).unwrap_or([0; N])
    }
}

impl IntegerColumn {
    /// An event's time.
    pub const TIME: Self = Self { word: ALIGNED_TIME, above: 0, unused: 0, signed: false, null: 0 };

    /// A field's place in aligned records; none where it holds no integer.
    pub fn new(layout: &EventLayout, index: usize) -> Option<Self> {
        let Column { ty: FieldType::Int { size, signed }, offset, null } = Column::new(layout, index)? else {
            return None;
        };
        let word = offset.min(layout.fixed_size.checked_sub(8)?);
        let (below, width) = (8 * (offset - word), 8 * u32::from(size));
        Some(Self { word, above: (64 - width - below) as u8, unused: (64 - width) as u8, signed, null })
    }

    /// Its value in a record that was looked over; none where that is null, or too great for an `i64`.
    #[inline]
    pub fn value(self, record: &[u8]) -> Option<i64> {
        let (nulls, word) = (read(record, ALIGNED_NULLS)?, read(record, self.word)?);
        if u16::from_le_bytes(nulls) & self.null != 0 {
            return None;
        }
        let bits = u64::from_le_bytes(word) << self.above;
        if self.signed {
            return Some(bits.cast_signed() >> self.unused);
        }
        i64::try_from(bits >> self.unused).ok()
    }
}

impl FieldType {
    /// What the bits of an integer, a name or a stack mean. Null for strings, which have more than that.
    #[inline]
    pub(crate) fn value(self, bits: u64) -> Value<'static> {
        match self {
            Self::Int { signed: false, .. } => Value::Unsigned(bits),
            Self::Int { size, signed: true } => {
                let unused = 64 - 8 * u32::from(size);
                Value::Signed((bits << unused).cast_signed() >> unused)
            }
            Self::Name => Value::Name(bits as u16),
            Self::Stack { space } if bits != 0 => Value::Stack { hash: bits, space },
            Self::Stack { .. } | Self::FixedString { .. } | Self::String { .. } | Self::Bytes { .. } => Value::Null,
        }
    }
}

impl<'a> Event<'a> {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    #[inline]
    pub fn time(&self) -> u64 {
        self.word(ALIGNED_TIME)
    }

    /// Which event it is.
    #[inline]
    pub fn id(&self) -> u16 {
        self.layout.schema.id
    }

    /// A field's value; null where there is no such field.
    #[inline]
    pub fn value(&self, index: usize) -> Value<'a> {
        Column::new(self.layout, index).map_or(Value::Null, |column| self.at(column))
    }

    /// The value of a column of this event's layout.
    #[inline]
    pub fn at(&self, column: Column) -> Value<'a> {
        let Column { ty, offset, null } = column;
        if null != 0 && self.nulls() & null != 0 {
            return Value::Null;
        }
        match ty {
            FieldType::Int { size, .. } => ty.value(self.unsigned(offset, size)),
            FieldType::Name => ty.value(self.unsigned(offset, 2)),
            FieldType::Stack { .. } => ty.value(self.word(offset)),
            FieldType::FixedString { size } => {
                let start = offset as usize;
                let bytes = self.bytes.get(start..start + usize::from(size)).unwrap_or_default();
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                Value::String { bytes: &bytes[..end], cut: false }
            }
            FieldType::String { .. } | FieldType::Bytes { .. } => {
                let slot = self.unsigned(offset, 4) as u32;
                let (start, length) = tail(slot);
                let mut bytes = self.bytes.get(start..start + length).unwrap_or_default();
                if matches!(ty, FieldType::String { .. }) {
                    bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                }
                Value::String { bytes, cut: slot >> 31 == 1 }
            }
        }
    }

    #[inline]
    fn nulls(&self) -> u16 {
        read(self.bytes, ALIGNED_NULLS).map_or(0, u16::from_le_bytes)
    }

    #[inline]
    fn word(&self, offset: u32) -> u64 {
        read(self.bytes, offset).map_or(0, u64::from_le_bytes)
    }

    #[inline]
    fn unsigned(&self, offset: u32, size: u8) -> u64 {
        let value = match size {
            1 => read(self.bytes, offset).map(u8::from_le_bytes).map(u64::from),
            2 => read(self.bytes, offset).map(u16::from_le_bytes).map(u64::from),
            4 => read(self.bytes, offset).map(u32::from_le_bytes).map(u64::from),
            _ => read(self.bytes, offset).map(u64::from_le_bytes),
        };
        value.unwrap_or(0)
    }
}

// A record's header is part of every fixed part.
const _: () = assert!(ALIGNED_HEADER >= ALIGNED_NULLS + 2 && STACK_HEADER == STACK_PID + 4);

//! What a recording says of itself: the description, how its records are laid out, whose they are, what was lost.
//!
//! All of it is JSON, for it is little, and readers of other versions can take from it what they know.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::event::Layouts;
use crate::layout::{Encoding, EventLayout, EventSchema, FieldType, Slot};
use crate::loss::Row;
use crate::spec::{SessionSpec, verify};

/// The first block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The release that wrote it.
    pub spile: String,
    /// What was asked for.
    pub spec: SessionSpec,
    /// How the records of each kind of event are laid out.
    pub events: Vec<RecordedEvent>,
    /// Ids and names, those of spans' starts included, of which there are no events.
    pub names: Vec<(u16, String)>,
    /// When it began.
    pub clock: Clock,
    /// Where.
    pub machine: Machine,
}

/// A kind of event: its columns, and where in a record they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// The columns.
    pub schema: EventSchema,
    /// How records are written.
    pub encoding: Encoding,
    /// For each column its offset (none behind a variable length) and the bytes of its fixed part.
    pub slots: Vec<(Option<u32>, u32)>,
    /// Bytes of the fixed part.
    pub fixed_size: u32,
    /// The most bytes of a record.
    pub max_size: u32,
}

/// One moment on two clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// `CLOCK_MONOTONIC`, which events have.
    pub monotonic: u64,
    /// `CLOCK_REALTIME`: since 1970, UTC.
    pub wall: u64,
}

/// The machine that was traced; what could not be learnt is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// As `uname -r`.
    pub kernel: String,
    /// As `uname -v`.
    pub build: String,
    /// As `uname -m`.
    pub architecture: String,
    /// As `uname -n`.
    pub host: String,
    /// The CPUs that there may ever be, as `0-7`.
    pub cpus: String,
    /// Differs from boot to boot: kernel addresses and times are of one boot.
    pub boot_id: String,
}

/// The ledger at a moment: the rows that changed since the last one, all numbers since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// When.
    #[serde(flatten)]
    pub clock: Clock,
    /// What is 0 is left out.
    pub rows: Vec<BTreeMap<String, u64>>,
    /// Children of the followed process that were not followed.
    #[serde(default)]
    pub lost_children: u64,
}

/// A ledger by probe and target.
pub(super) type Ledger = BTreeMap<(u32, u32), Row>;

/// The last block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When it was closed.
    #[serde(flatten)]
    pub clock: Clock,
    /// Events in it.
    pub events: u64,
    /// What ended it, if it wasn't the session's own end.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Head {
    /// Of what runs now, here.
    pub fn new(spec: &SessionSpec, layouts: &Layouts, names: Vec<(u16, String)>) -> Self {
        let event = |layout: &EventLayout| RecordedEvent {
            schema: layout.schema.clone(),
            encoding: layout.encoding,
            slots: layout.slots.iter().map(|slot| (slot.offset, slot.size)).collect(),
            fixed_size: layout.fixed_size,
            max_size: layout.max_size,
        };
        Self {
            spile: env!("CARGO_PKG_VERSION").into(),
            spec: spec.clone(),
            events: layouts.iter().map(event).collect(),
            names,
            clock: Clock::now(),
            machine: Machine::this(),
        }
    }

    /// Reads one, and looks it over: nothing in a file is believed.
    pub(super) fn read(json: &[u8], offset: u64) -> Result<Self, Error> {
        let wrong = |message: String| Error::Recording {
            offset,
            message: format!("the recording's description can't be read: {message}"),
        };
        let head: Self = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        verify(&head.spec).map_err(|error| wrong(error.to_string()))?;
        for event in &head.events {
            event.check(head.spec.probes.len()).map_err(wrong)?;
        }
        head.layouts().map_err(|error| wrong(error.to_string()))?;
        Ok(head)
    }

    /// How its records are read.
    pub fn layouts(&self) -> Result<Layouts, Error> {
        Layouts::new(self.events.iter().map(RecordedEvent::layout).collect())
    }
}

impl RecordedEvent {
    fn layout(&self) -> EventLayout {
        let mut schema = self.schema.clone();
        for field in &mut schema.fields {
            if let FieldType::Int { size, signed } = field.ty {
                // JSON has the numbers of names as they are signed.
                field.names = field.names.fitted(size, signed);
            }
        }
        let slots = self.slots.iter().map(|&(offset, size)| Slot { offset, size }).collect();
        EventLayout { schema, encoding: self.encoding, slots, fixed_size: self.fixed_size, max_size: self.max_size }
    }

    fn check(&self, probes: usize) -> Result<(), String> {
        let Self { schema, slots, fixed_size, max_size, .. } = self;
        let id = schema.id;
        if self.encoding != Encoding::Aligned || id == 0 {
            return Err(format!("event {id} has an encoding that is not known"));
        }
        if slots.len() != schema.fields.len() || schema.probe as usize >= probes {
            return Err(format!("event {id} has {} places for {} columns", slots.len(), schema.fields.len()));
        }
        let fits = |&(offset, size): &(Option<u32>, u32)| {
            offset.is_some_and(|offset| u64::from(offset) + u64::from(size) <= u64::from(*fixed_size))
        };
        let has_header = *fixed_size >= crate::layout::ALIGNED_HEADER && max_size >= fixed_size;
        if !has_header || *max_size > u32::from(u16::MAX) || !slots.iter().all(fits) {
            return Err(format!("a column of event {id} lies outside of its record"));
        }
        let columns = schema.fields.len();
        if schema.keys.iter().flatten().any(|column| *column as usize >= columns) {
            return Err(format!("a key of event {id} names a column that is not there"));
        }
        Ok(())
    }
}

impl Clock {
    /// This moment.
    pub fn now() -> Self {
        let read = |clock| {
            let time = clock_gettime(clock);
            u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).unwrap_or_default()
        };
        Self { monotonic: read(ClockId::Monotonic), wall: read(ClockId::Realtime) }
    }

    /// What to add to an event's time for the time of day.
    pub fn wall_offset(self) -> i128 {
        i128::from(self.wall) - i128::from(self.monotonic)
    }
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default().trim().to_owned();
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            build: read("/proc/sys/kernel/version"),
            architecture: std::env::consts::ARCH.into(),
            host: read("/proc/sys/kernel/hostname"),
            cpus: read("/sys/devices/system/cpu/possible"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
        }
    }
}

impl Losses {
    /// Of these rows; those that are in `known` already are left out, and it knows them all afterwards.
    pub(super) fn new(rows: &[Row], lost_children: u64, known: &mut Ledger) -> Self {
        let is_new = |row: &&Row| known.insert((row.probe, row.target), **row) != Some(**row);
        let changed = rows.iter().filter(is_new).map(numbers).collect();
        Self { clock: Clock::now(), rows: changed, lost_children }
    }

    /// Enters its rows into those that are known so far.
    pub(super) fn enter(&self, known: &mut Ledger) {
        known.extend(self.rows.iter().filter_map(row).map(|row| ((row.probe, row.target), row)));
    }
}

/// A row's numbers by their names. Where it belongs stays, be it 0.
fn numbers(row: &Row) -> BTreeMap<String, u64> {
    let Ok(Value::Object(members)) = serde_json::to_value(row) else { return BTreeMap::new() };
    let number = |(name, value): (String, Value)| Some((name, value.as_u64()?));
    members.into_iter().filter_map(number).filter(|(name, value)| *value != 0 || is_place(name)).collect()
}

fn is_place(name: &str) -> bool {
    matches!(name, "probe" | "target")
}

/// Numbers that this release doesn't know are passed over.
fn row(numbers: &BTreeMap<String, u64>) -> Option<Row> {
    serde_json::from_value(serde_json::to_value(numbers).ok()?).ok()
}

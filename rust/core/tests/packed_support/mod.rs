//! Writes packed streams from the form that `layout.rs` documents, and reads them through a [`PackedSource`].
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use spile_core::Error;
use spile_core::event::{Event, Layouts, Record, Value};
use spile_core::layout::{Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role};
use spile_core::source::packed::PackedSource;
use spile_core::source::{Run, Source};
use spile_core::spec::{AggregateFunction, SessionSpec, StackSpace};
use spile_core::stack::StackTable;

/// A value, as a script would have it.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    Unsigned(u64),
    Signed(i64),
    Text(Vec<u8>),
    Stack(Vec<u64>),
    Name(u16),
}

/// Whose user stacks are.
pub const PROCESS: u32 = 4711;

/// An event, as it came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub id: u16,
    pub time: u64,
    pub cpu: u16,
    pub values: Vec<Datum>,
}

pub fn schema(id: u16, columns: &[(FieldType, Role)]) -> EventSchema {
    let field = |(index, &(ty, role))| FieldSchema { name: format!("f{index}"), ty, role, names: Default::default() };
    EventSchema {
        id,
        probe: 0,
        target: 0,
        fields: columns.iter().enumerate().map(field).collect(),
        keys: vec![],
        values: vec![],
    }
}

pub fn layouts(schemas: &[EventSchema], encoding: Encoding) -> Layouts {
    let layouts = schemas.iter().map(|schema| EventLayout::compute(schema.clone(), encoding).unwrap());
    Layouts::new(layouts.collect()).unwrap()
}

pub fn encode(id: u8, schema: &EventSchema, values: &[Datum], out: &mut Vec<u8>) {
    out.push(id);
    for (field, value) in schema.fields.iter().zip(values) {
        match (field.ty, value) {
            (FieldType::Int { size, .. }, Datum::Unsigned(value)) => {
                out.extend(&value.to_le_bytes()[..usize::from(size)]);
            }
            (FieldType::Int { size, .. }, Datum::Signed(value)) => {
                out.extend(&value.to_le_bytes()[..usize::from(size)])
            }
            (FieldType::FixedString { .. } | FieldType::String { .. }, Datum::Text(text)) => {
                out.extend(text);
                out.push(0);
            }
            (FieldType::Bytes { .. }, Datum::Text(text)) => {
                out.extend((text.len() as u16).to_le_bytes());
                out.extend(text);
            }
            (FieldType::Stack { space: StackSpace::User }, Datum::Stack(frames)) if !frames.is_empty() => {
                out.push(frames.len() as u8 + 1);
                let words = std::iter::once(PROCESS.into()).chain(frames.iter().copied());
                out.extend(words.flat_map(u64::to_le_bytes));
            }
            (FieldType::Stack { .. }, Datum::Stack(frames)) => {
                out.push(frames.len() as u8);
                out.extend(frames.iter().flat_map(|frame| frame.to_le_bytes()));
            }
            (FieldType::Name, Datum::Name(id)) => out.extend(id.to_le_bytes()),
            (ty, value) => panic!("{value:?} for {ty:?}"),
        }
    }
}

/// A probe for each schema, each with a count for each of its keys.
pub fn counting(schemas: &[EventSchema]) -> SessionSpec {
    accumulating(schemas, &[])
}

/// A probe for each schema, each with an aggregate for each of its keys: these functions, in turn, and then counts.
pub fn accumulating(schemas: &[EventSchema], functions: &[AggregateFunction]) -> SessionSpec {
    let pid = || serde_json::json!({"op": "context", "name": "pid"});
    let probe = |(index, schema): (usize, &EventSchema)| {
        let aggregate = |(index, key): (usize, &Vec<u32>)| {
            let function = functions.get(index).copied().unwrap_or(AggregateFunction::Count);
            let value = function.takes_value().then(pid);
            serde_json::json!({"function": function, "value": value, "by": vec![pid(); key.len()]})
        };
        serde_json::json!({
            "name": format!("p{index}"), "declared_at": null,
            "targets": [{"kind": "raw_tracepoint", "name": "sched_switch"}],
            "capture": {"kind": "fields", "fields": []}, "where": null,
            "aggregates": schema.keys.iter().enumerate().map(aggregate).collect::<Vec<_>>(),
            "deliver": false,
        })
    };
    let json = serde_json::json!({
        "version": 1,
        "target": {"pid": null, "follow": true, "cgroup": null, "exclude_self": true},
        "limits": {"buffer": 4096, "queue": 65536, "stack_depth": 127, "stack_cache": 64},
        "probes": schemas.iter().enumerate().map(probe).collect::<Vec<_>>(),
    });
    serde_json::from_value(json).unwrap()
}

/// A reader that gives pieces of these sizes, over and over.
pub struct Pieces {
    pub data: Vec<u8>,
    pub at: usize,
    pub sizes: Vec<usize>,
    pub turn: usize,
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()].min(room.len()).min(self.data.len() - self.at);
        self.turn += 1;
        room[..size].copy_from_slice(&self.data[self.at..self.at + size]);
        self.at += size;
        Ok(size)
    }
}

/// Reads a stream to its end: what it gave, and the error that ended it. Pieces of these sizes and the whole in memory
/// must give the same.
pub fn decode(schemas: &[EventSchema], data: &[u8], sizes: &[usize]) -> (Vec<Seen>, Option<Error>) {
    let packed = || layouts(schemas, Encoding::Packed);
    let (stacks, others) = (Arc::new(StackTable::default()), Arc::new(StackTable::default()));
    let reader = Pieces { data: data.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 };
    let source = PackedSource::new(reader, packed(), Arc::clone(&stacks)).unwrap();
    let recorded = PackedSource::recorded(data.to_vec(), packed(), Arc::clone(&others)).unwrap();
    let outcome = read(schemas, source, &stacks);
    assert_eq!(outcome, read(schemas, recorded, &others), "in memory");
    outcome
}

fn read(schemas: &[EventSchema], mut source: impl Source, stacks: &StackTable) -> (Vec<Seen>, Option<Error>) {
    let aligned = layouts(schemas, Encoding::Aligned);
    let (mut run, mut seen) = (Run::default(), Vec::new());
    let mut watermark = 0;
    loop {
        let progress = source.read(&mut run);
        for &entry in run.entries() {
            assert_eq!(run.record(entry)[8..10], entry.vouched.to_le_bytes());
            match Record::parse(&aligned, entry.cpu, run.record(entry)).unwrap() {
                Record::Event(event) => seen.push(look(&event, stacks)),
                Record::Stack(stack) => panic!("{stack:?}"),
            }
        }
        run.clear();
        match progress {
            Ok(progress) => {
                assert!(progress.watermark >= watermark);
                watermark = progress.watermark;
                if progress.ended {
                    assert!(progress.drained && watermark == u64::MAX);
                    return (seen, None);
                }
            }
            Err(error) => {
                assert_eq!(source.read(&mut run), Err(error.clone()), "an error stays");
                assert!(run.entries().is_empty());
                return (seen, Some(error));
            }
        }
    }
}

pub fn look(event: &Event<'_>, stacks: &StackTable) -> Seen {
    let value = |index| match event.value(index) {
        Value::Null => Datum::Stack(vec![]),
        Value::Unsigned(value) => Datum::Unsigned(value),
        Value::Signed(value) => Datum::Signed(value),
        Value::String { bytes, cut } => {
            assert!(!cut);
            Datum::Text(bytes.to_vec())
        }
        Value::Stack { hash, .. } => Datum::Stack(stacks.get(hash).unwrap().addresses.to_vec()),
        Value::Name(id) => Datum::Name(id),
    };
    let values = (0..event.layout.schema.fields.len()).map(value).collect();
    Seen { id: event.id(), time: event.time(), cpu: event.cpu, values }
}

pub fn field_types() -> impl Strategy<Value = FieldType> {
    let size = || prop::sample::select(vec![1u8, 2, 4, 8]);
    let space = prop_oneof![Just(StackSpace::Kernel), Just(StackSpace::User)];
    prop_oneof![
        4 => (size(), any::<bool>()).prop_map(|(size, signed)| FieldType::Int { size, signed }),
        1 => (1..=255u8).prop_map(|size| FieldType::FixedString { size }),
        1 => (1..900u32).prop_map(|limit| FieldType::String { limit }),
        1 => (1..900u32).prop_map(|limit| FieldType::Bytes { limit }),
        1 => space.prop_map(|space| FieldType::Stack { space }),
        1 => Just(FieldType::Name),
    ]
}

pub fn data(ty: FieldType) -> BoxedStrategy<Datum> {
    match ty {
        FieldType::Int { size, signed } => {
            let unused = 64 - 8 * u32::from(size);
            if signed {
                any::<i64>().prop_map(move |value| Datum::Signed(value << unused >> unused)).boxed()
            } else {
                any::<u64>().prop_map(move |value| Datum::Unsigned(value >> unused)).boxed()
            }
        }
        FieldType::FixedString { size } => vec(1..=255u8, 0..=usize::from(size)).prop_map(Datum::Text).boxed(),
        FieldType::String { limit } => vec(1..=255u8, 0..=(limit as usize).min(40)).prop_map(Datum::Text).boxed(),
        FieldType::Bytes { limit } => vec(any::<u8>(), 0..=limit as usize).prop_map(Datum::Text).boxed(),
        FieldType::Stack { space } => {
            let most = if space == StackSpace::User { 126 } else { 127 };
            prop_oneof![vec(any::<u64>(), 0..=most), vec(0..3u64, 0..4)].prop_map(Datum::Stack).boxed()
        }
        FieldType::Name => any::<u16>().prop_map(Datum::Name).boxed(),
    }
}

/// Some events' schemas, with ids from 1, and records of them: the index of a schema, and values.
pub fn streams() -> impl Strategy<Value = (Vec<EventSchema>, Vec<(usize, Vec<Datum>)>)> {
    let columns = vec(field_types().prop_map(|ty| (ty, Role::Capture)), 0..=16);
    vec((columns, 1..=3u16), 1..4).prop_flat_map(|events| {
        let mut id = 0;
        let schemas: Vec<EventSchema> = events
            .iter()
            .map(|(columns, gap)| {
                id += gap;
                schema(id, columns)
            })
            .collect();
        let one = |index: usize, schema: &EventSchema| {
            let values: Vec<_> = schema.fields.iter().map(|field| data(field.ty)).collect();
            values.prop_map(move |values| (index, values)).boxed()
        };
        let any_record =
            proptest::strategy::Union::new(schemas.iter().enumerate().map(|(index, schema)| one(index, schema)));
        (Just(schemas), vec(any_record, 0..20))
    })
}

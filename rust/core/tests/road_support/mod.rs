//! Writes aligned records byte by byte, from the form that `layout.rs` documents and from no code that reads them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use spile_core::Error;
use spile_core::event::Layouts;
use spile_core::layout::{Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role};
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::StackSpace;

/// A layout with these columns; the first `keys` aggregates are keyed by those columns.
pub fn layout(id: u16, probe: u32, types: &[FieldType], keys: &[&[u32]]) -> EventLayout {
    let field = |(index, ty): (usize, &FieldType)| FieldSchema {
        name: format!("f{index}"),
        ty: *ty,
        role: Role::Capture,
        names: Default::default(),
    };
    let schema = EventSchema {
        id,
        probe,
        target: 0,
        fields: types.iter().enumerate().map(field).collect(),
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        values: Vec::new(),
    };
    EventLayout::compute(schema, Encoding::Aligned).unwrap()
}

/// `u64 value`, `string[16] comm`, `kernel stack`.
pub fn usual() -> Arc<Layouts> {
    let types = [
        FieldType::Int { size: 8, signed: false },
        FieldType::FixedString { size: 16 },
        FieldType::Stack { space: StackSpace::Kernel },
    ];
    Arc::new(Layouts::new(vec![layout(1, 0, &types, &[&[2], &[1, 0]])]).unwrap())
}

/// A record of [`usual`]'s event: header (time, id, nulls), 4 bytes of hole, value at 16, comm at 24, stack at 40.
pub fn record(time: u64, nulls: u16, value: u64, comm: &str, stack: u64) -> Vec<u8> {
    let mut bytes = time.to_le_bytes().to_vec();
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(nulls.to_le_bytes());
    bytes.extend([0xee; 4]);
    bytes.extend(value.to_le_bytes());
    let mut name = comm.as_bytes().to_vec();
    name.resize(16, 0);
    bytes.extend(name);
    bytes.extend(stack.to_le_bytes());
    bytes
}

/// A stack's definition.
pub fn definition(hash: u64, pid: u32, frames: &[u64]) -> Vec<u8> {
    let mut bytes = hash.to_le_bytes().to_vec();
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend((frames.len() as u16).to_le_bytes());
    bytes.extend(pid.to_le_bytes());
    bytes.extend(frames.iter().flat_map(|frame| frame.to_le_bytes()));
    bytes
}

type Step = (Vec<Vec<u8>>, Progress);

/// A source that plays a script: records and a watermark for each read, then its end.
#[derive(Clone, Default)]
pub struct Script {
    cpu: u16,
    steps: Arc<Mutex<VecDeque<Step>>>,
}

impl Script {
    pub fn new(cpu: u16) -> Self {
        Self { cpu, steps: Arc::default() }
    }

    pub fn step(&self, records: Vec<Vec<u8>>, watermark: u64) {
        let progress = Progress { drained: true, ended: false, watermark };
        self.steps.lock().unwrap().push_back((records, progress));
    }

    pub fn boxed(&self) -> Box<dyn Source> {
        Box::new(self.clone())
    }
}

impl Source for Script {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let Some((records, progress)) = self.steps.lock().unwrap().pop_front() else {
            return Ok(Progress { drained: true, ended: true, watermark: u64::MAX });
        };
        for record in records {
            run.push(self.cpu, &record);
        }
        Ok(progress)
    }
}

//! The thread that learns what a recording needs beside records, while it can be learnt: names of the addresses in stacks,
//! the files that their processes had mapped, the ledger. In: stacks, as they turn up. Out: blocks, each second.
//!
//! It works beside the road of events, for reading the kernel's symbols or a program's may take a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use blazesym::helper::read_elf_build_id;
use rustc_hash::{FxHashMap, FxHashSet};

use super::format::Kind;
use super::head::{Ledger, Losses};
use super::recorder::{Block, json};
use crate::loss::Row;
use crate::stack::Frames;
use crate::symbol::recorded::{self, Mapping, NamedAddress};
use crate::symbol::{KernelSymbolizer, Symbol, symbolize_user};

/// The ledger at a moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Its rows, without what the script's side did.
    pub rows: Vec<Row>,
    /// Children of the followed process that were not followed.
    pub lost_children: u64,
}

/// Gives the ledger; none where it can't be read just now. It must not wait for the session's end.
pub type Sampler = Box<dyn FnMut() -> Option<Sample> + Send>;

/// The time between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Names in a block.
const MOST_NAMES: usize = 8192;

/// Works until nobody tells of stacks any more; gives the ledger as it was written last.
pub(super) fn run(told: &Receiver<Frames>, blocks: &SyncSender<Block>, mut sampler: Sampler) -> Ledger {
    let (mut facts, mut ledger) = (Facts::default(), Ledger::new());
    let mut next = Instant::now() + INTERVAL;
    loop {
        match told.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(stack) => facts.add(&stack),
            Err(RecvTimeoutError::Timeout) => {
                facts.send(blocks);
                if let Some(Sample { rows, lost_children }) = sampler() {
                    send(blocks, Kind::Losses, json(&Losses::new(&rows, lost_children, &mut ledger)));
                }
                next = Instant::now() + INTERVAL;
            }
            Err(RecvTimeoutError::Disconnected) => {
                facts.send(blocks);
                return ledger;
            }
        }
    }
}

/// The writer may have failed; who ends the session says so.
fn send(blocks: &SyncSender<Block>, kind: Kind, bytes: Vec<u8>) {
    let _ = blocks.send(Block { kind, events: 0, bytes });
}

/// What is known of addresses, and what isn't yet.
#[derive(Default)]
struct Facts {
    seen: FxHashSet<(u32, u64)>,
    /// By process, 0 for the kernel.
    new: BTreeMap<u32, Vec<u64>>,
    build_ids: FxHashMap<PathBuf, Option<String>>,
    /// Told already: process and start.
    mapped: FxHashSet<(u32, u64)>,
}

impl Facts {
    fn add(&mut self, stack: &Frames) {
        for place in recorded::places(&stack.addresses) {
            if self.seen.insert((stack.pid, place)) {
                self.new.entry(stack.pid).or_default().push(place);
            }
        }
    }

    fn send(&mut self, blocks: &SyncSender<Block>) {
        let new = std::mem::take(&mut self.new);
        let mut mappings = Vec::new();
        for (&pid, places) in &new {
            for places in places.chunks(MOST_NAMES) {
                let named = name(pid, places);
                if !named.is_empty() {
                    send(blocks, Kind::Symbols, json(&named));
                }
            }
            if pid != 0 {
                mappings.extend(self.mappings(pid, places));
            }
        }
        if !mappings.is_empty() {
            send(blocks, Kind::Mappings, json(&mappings));
        }
    }

    /// The mappings of a process that have these addresses and were not told yet; none once it has ended.
    fn mappings(&mut self, pid: u32, places: &[u64]) -> Vec<Mapping> {
        let mut mappings = recorded::mappings(pid);
        mappings.retain(|mapping| {
            places.iter().any(|place| (mapping.start..mapping.end).contains(place))
                && self.mapped.insert((pid, mapping.start))
        });
        for mapping in &mut mappings {
            let path = PathBuf::from(&mapping.path);
            let id = self.build_ids.entry(path).or_insert_with_key(|path| build_id(path));
            mapping.build_id.clone_from(id);
        }
        mappings
    }
}

fn build_id(path: &Path) -> Option<String> {
    let id = read_elf_build_id(path).ok()??;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names of those addresses that have one.
fn name(pid: u32, places: &[u64]) -> Vec<NamedAddress> {
    let symbols = match pid {
        0 => KernelSymbolizer::shared().symbolize(places),
        _ => symbolize_user(pid, places).unwrap_or_default(),
    };
    let named = |(&address, symbol): (&u64, Symbol)| {
        let Symbol { name, offset, module } = symbol;
        Some(NamedAddress { pid, address, name: name?, offset, module })
    };
    places.iter().zip(symbols).filter_map(named).collect()
}

//! Makes the IR of one program. In: a probe, its layout and columns, its fields. Out: a [`Function`], not yet verified.
//!
//! Every program goes the same way: activity gate, target filter, ledger, `where=`, `sample=`, stacks, record, ring. What is
//! told once is written once: `int` and `arithmetic` compute numbers, `condition` decides, `sample` counts off, `string` fetches bytes,
//! `stack` walks, `table` and `bin` count, `record` writes, `ring` sends.

mod arithmetic;
mod bin;
mod budget;
mod condition;
mod context;
mod int;
mod mapped;
mod record;
mod ring;
mod sample;
mod scratch;
mod span;
mod stack;
mod string;
mod table;

use std::collections::HashMap;

use spile_core::error::Error;
use spile_core::spec::{Expr, ProbeSpec, StackSpace};

use super::access::Fields;
use super::ir::{Arg, BinOp, Block, Cmp, Function, Helper, Inst, Operand, Slot, Terminator, Ty, VReg};
use super::span::Side;
use super::{KernelOffsets, Ledger, MapRef, Options, Output, ProgramKind};

pub(super) use context::SharedFact;
pub use context::exprs_of;

/// What `compile` was asked.
pub(super) struct Request<'a> {
    pub kind: ProgramKind,
    pub probe: &'a ProbeSpec,
    /// The probe's place in the spec.
    pub index: u32,
    pub role: Role<'a>,
    pub fields: &'a dyn Fields,
    pub offsets: &'a KernelOffsets,
    pub options: &'a Options,
}

/// What the program is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    /// Each hit is an event.
    Event(Output<'a>),
    /// Each hit begins a span.
    Start { side: Side<'a>, restart: bool },
    /// Each hit ends a span, and is its event.
    End { side: Side<'a>, output: Output<'a> },
}

/// Bytes of the stack buffer that numbers, keys and short strings pass through.
const BUFFER: u32 = 128;

struct Build<'a> {
    request: &'a Request<'a>,
    f: Function,
    context: VReg,
    /// The event's id, once the ledger is open.
    id: Operand,
    /// The ledger's row, once the target filter has let the task through.
    ledger: VReg,
    buffer: Slot,
    scratch: Option<scratch::Scratch>,
    /// Where a run ends: at once, or by way of giving scratch back.
    out: Block,
    fates: HashMap<u32, Block>,
    pending_fates: Vec<(Ledger, Block, Block)>,
    shared: HashMap<SharedFact, VReg>,
    stacks: HashMap<(StackSpace, u32), VReg>,
    time: Option<VReg>,
    /// What this end of a span has taken.
    taken: Option<span::Taken<'a>>,
    elapsed: Option<VReg>,
    /// Bytes at the end of scratch that a span's entry takes.
    kept_size: u32,
    /// The place in the spec, for errors.
    place: String,
}

/// The IR of a program.
pub(super) fn build(request: &Request<'_>) -> Result<Function, Error> {
    let mut f = Function::new(program_name(&request.probe.name));
    let context = f.reg(Ty::Ptr);
    f.push(Inst::Context { dst: context });
    let (buffer, out) = (f.slot(buffer_size(request)), f.block());
    let mut build = Build {
        request,
        id: Operand::Imm(request.options.event_id.into()),
        f,
        context,
        ledger: context,
        buffer,
        scratch: None,
        out,
        fates: HashMap::new(),
        pending_fates: Vec::new(),
        shared: HashMap::new(),
        stacks: HashMap::new(),
        time: None,
        taken: None,
        elapsed: None,
        kept_size: 0,
        place: format!("probes[{}]", request.index),
    };
    build.gate();
    build.target_filter();
    build.open_ledger();
    build.rest()?;
    Ok(build.finish())
}

/// At most 15 characters that the kernel accepts in a program's name.
pub(super) fn program_name(probe: &str) -> String {
    let accepted = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    probe.chars().map(accepted).take(15).collect()
}

/// Numbers need 8 bytes; only strings in conditions need more.
fn buffer_size(request: &Request<'_>) -> u32 {
    let (of_side, of_probe) = match &request.role {
        Role::Event(_) => (None, request.probe.condition.as_ref()),
        Role::Start { side, .. } => (side.condition, None),
        Role::End { side, .. } => (side.condition, request.probe.condition.as_ref()),
    };
    let reads = [of_side, of_probe].into_iter().flatten().any(condition::reads_strings);
    if reads { BUFFER } else { 8 }
}

impl<'a> Build<'a> {
    /// What follows once a hit is one.
    fn rest(&mut self) -> Result<(), Error> {
        let Request { probe, index, role, .. } = *self.request;
        match role {
            Role::Event(output) => self.event(probe, index, output),
            Role::Start { side, restart } => {
                self.decide(side.condition, side.probe)?;
                self.begin_span(&side, restart)
            }
            Role::End { side, output } => {
                self.decide(side.condition, side.probe)?;
                self.end_span(&side)?;
                self.event(probe, index, output)
            }
        }
    }

    fn event(&mut self, probe: &'a ProbeSpec, index: u32, output: Output<'a>) -> Result<(), Error> {
        self.decide(probe.condition.as_ref(), index)?;
        self.sample(probe.sample);
        // Whoever has no tables here has nothing to do with a hit whose event is left out.
        if output.tables.is_empty() {
            self.spare_event();
        }
        let columns: Vec<&Expr> = output.columns.iter().collect();
        self.walk_stacks(&columns);
        self.share_among(output.columns.iter());
        let Some(kept) = self.tally(output.tables)? else { return self.record(output.layout, output.columns) };
        if probe.deliver || output.tables.len() < probe.aggregates.len() {
            self.remark_lost(kept);
            self.spare_event();
            return self.record(output.layout, output.columns);
        }
        self.tabled(kept);
        Ok(())
    }

    fn gate(&mut self) {
        let gate = self.f.reg(Ty::Ptr);
        self.f.push(Inst::MapValue { dst: gate, map: MapRef::Gate });
        let state = self.f.load(gate, 0, 4);
        self.f.leave_if(Cmp::Ne, state, 1, self.out);
    }

    fn target_filter(&mut self) {
        let options = self.request.options;
        if options.self_tgid.is_some() || options.target.pids {
            let pid_tgid = self.share(SharedFact::PidTgid);
            let tgid = self.f.binary(BinOp::ShrU, pid_tgid, 32);
            if let Some(own) = options.self_tgid {
                self.f.leave_if(Cmp::Eq, tgid, i64::from(own), self.out);
            }
            if options.target.pids {
                let entry = self.lookup(MapRef::Pids, tgid);
                self.f.leave_if(Cmp::Eq, entry, 0, self.out);
            }
        }
        if let Some(cgroup) = options.target.cgroup {
            let current = self.f.call(Helper::CurrentCgroupId, &[], Ty::Int);
            self.f.leave_if(Cmp::Ne, current, cgroup as i64, self.out);
        }
    }

    fn open_ledger(&mut self) {
        if self.request.options.id_in_cookie {
            let id = self.f.call(Helper::GetAttachCookie, &[Arg::Reg(self.context)], Ty::Int);
            self.id = Operand::Reg(id);
        }
        self.f.store(self.buffer, 0, 4, self.id);
        let args = [Arg::Map(MapRef::Ledger), Arg::Slot(self.buffer)];
        self.ledger = self.f.call(Helper::MapLookup, &args, Ty::Ptr);
        self.f.leave_if(Cmp::Eq, self.ledger, 0, self.out);
        self.count(Ledger::Hits);
    }

    /// The address of a map's value under a 4-byte key, or 0.
    fn lookup(&mut self, map: MapRef, key: VReg) -> VReg {
        self.f.store(self.buffer, 0, 4, key);
        self.f.call(Helper::MapLookup, &[Arg::Map(map), Arg::Slot(self.buffer)], Ty::Ptr)
    }

    /// The kernel's recursion guard lets a program run once at a time on a CPU, so a plain addition is exact.
    fn count(&mut self, word: Ledger) {
        let offset = 8 * word as u32;
        let old = self.f.load(self.ledger, offset, 8);
        let new = self.f.binary(BinOp::Add, old, 1);
        self.f.store(self.ledger, offset, 8, new);
    }

    /// A block that counts how this hit ended, and ends it.
    fn fate(&mut self, word: Ledger) -> Block {
        if let Some(block) = self.fates.get(&(word as u32)) {
            return *block;
        }
        let block = self.f.block();
        self.fates.insert(word as u32, block);
        self.pending_fates.push((word, block, self.out));
        block
    }

    fn finish(mut self) -> Function {
        self.f.jump(self.out);
        for (word, block, out) in std::mem::take(&mut self.pending_fates) {
            self.f.begin(block);
            self.count(word);
            self.f.jump(out);
        }
        self.release_scratch();
        self.f.begin(self.out);
        self.f.end(Terminator::Exit);
        self.f.prune();
        self.f
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::spec(self.place.clone(), message))
    }
}

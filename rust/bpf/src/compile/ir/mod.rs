//! The intermediate form: virtual registers and blocks, between a spec's expressions and BPF's eleven registers.
//!
//! Comes from `build`; goes to `verify`, then to register allocation. Everything is 64 bits wide, as BPF's registers
//! are; a narrower load widens with zeros, and [`Inst::SignExtend`] widens with the sign. A virtual register may be
//! assigned more than once (loops need that); it has one type for life.

mod text;
mod verify;

use super::MapRef;

pub(super) use verify::verify;

/// A virtual register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct VReg(pub u32);

/// A block of instructions that one terminator ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Block(pub u32);

/// A buffer on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(pub u32);

/// What a virtual register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ty {
    /// A number.
    Int,
    /// A pointer that the kernel's verifier tracks.
    Ptr,
}

/// A register or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    Reg(VReg),
    Imm(i64),
}

impl From<VReg> for Operand {
    fn from(reg: VReg) -> Self {
        Self::Reg(reg)
    }
}

/// What memory is addressed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Base {
    Reg(VReg),
    Slot(Slot),
}

/// An argument of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Arg {
    Reg(VReg),
    Imm(i64),
    Slot(Slot),
    Map(MapRef),
}

impl From<VReg> for Arg {
    fn from(reg: VReg) -> Self {
        Self::Reg(reg)
    }
}

/// Two operands in, one value out. Shift counts are below 64; divisors aren't 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BinOp {
    Add,
    Sub,
    Mul,
    DivU,
    ModU,
    And,
    Or,
    Xor,
    Shl,
    ShrU,
    ShrS,
}

/// A comparison of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cmp {
    Eq,
    Ne,
    LtU,
    LeU,
    GtU,
    GeU,
    LtS,
    LeS,
    GtS,
    GeS,
}

impl Cmp {
    /// The comparison that is true exactly when this one is false.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::LtU => Self::GeU,
            Self::LeU => Self::GtU,
            Self::GtU => Self::LeU,
            Self::GeU => Self::LtU,
            Self::LtS => Self::GeS,
            Self::LeS => Self::GtS,
            Self::GtS => Self::LeS,
            Self::GeS => Self::LtS,
        }
    }
}

/// Kernel helpers, by their numbers in `enum bpf_func_id`, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(super) enum Helper {
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    KtimeGetNs = 5,
    SmpProcessorId = 8,
    CurrentPidTgid = 14,
    CurrentUidGid = 15,
    CurrentComm = 16,
    CurrentTask = 35,
    GetStack = 67,
    CurrentCgroupId = 80,
    ProbeReadKernel = 113,
    ProbeReadUserStr = 114,
    ProbeReadKernelStr = 115,
    RingOutput = 130,
    RingReserve = 131,
    RingSubmit = 132,
    GetFuncIp = 173,
    GetAttachCookie = 174,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inst {
    /// The program's context. Only at the program's beginning.
    Context { dst: VReg },
    /// A number.
    Const { dst: VReg, value: i64 },
    /// Another register's value.
    Copy { dst: VReg, src: VReg },
    /// Two operands.
    Binary { op: BinOp, dst: VReg, left: VReg, right: Operand },
    /// The low `bits`, as two's complement.
    SignExtend { dst: VReg, src: VReg, bits: u8 },
    /// What the kernel's verifier may take for a pointer, as a number.
    Number { dst: VReg, src: VReg },
    /// Memory, widened with zeros.
    Load { dst: VReg, base: Base, offset: i32, size: u8 },
    /// Memory.
    Store { base: Base, offset: i32, size: u8, value: Operand },
    /// The address of a buffer on the stack.
    Address { dst: VReg, slot: Slot },
    /// The first bits of a hash, as many as number the slots of a table.
    Bucket { dst: VReg, hash: VReg },
    /// The address of a map's first value.
    MapValue { dst: VReg, map: MapRef },
    /// Eight bytes of memory become `new` if they are `expected`, at once (Linux 5.12). The result is what they were.
    CompareExchange { dst: VReg, base: VReg, offset: i32, expected: VReg, new: VReg },
    /// A helper; at most four arguments.
    Call { dst: Option<VReg>, helper: Helper, args: Vec<Arg> },
    /// Keeps a value under a key, for a later [`Self::Take`]. The result is one of [`put`]'s.
    Put { dst: VReg, map: MapRef, key: Slot, value: Arg, size: u32, restart: bool },
    /// Removes what is kept under a key, having copied it. The result is one of [`take`]'s. What is copied is whole, and
    /// of one put, and belongs to nobody else once the result is [`take::TAKEN`]. A value's first word tells two puts
    /// under one key apart.
    Take { dst: VReg, map: MapRef, key: Slot, to: Arg, size: u32 },
}

/// What becomes of a put.
pub(super) mod put {
    /// It is kept.
    pub(in crate::compile) const OPENED: i32 = 0;
    /// It is kept in the place of what was there.
    pub(in crate::compile) const RESTARTED: i32 = 1;
    /// What was there stays.
    pub(in crate::compile) const ALREADY_OPEN: i32 = 2;
    /// There was no room, or too many CPUs at the key.
    pub(in crate::compile) const NO_ROOM: i32 = 3;
}

/// What becomes of a take.
pub(super) mod take {
    /// It is copied, and there no more.
    pub(in crate::compile) const TAKEN: i32 = 0;
    /// There was nothing.
    pub(in crate::compile) const NOTHING: i32 = 1;
    /// Somebody else took or replaced it meanwhile.
    pub(in crate::compile) const RACED: i32 = 2;
}

/// The end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminator {
    Jump(Block),
    Branch { cmp: Cmp, left: VReg, right: Operand, then: Block, otherwise: Block },
    Exit,
}

impl Terminator {
    pub(super) fn targets(self) -> impl Iterator<Item = Block> {
        let (first, second) = match self {
            Self::Jump(target) => (Some(target), None),
            Self::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Self::Exit => (None, None),
        };
        first.into_iter().chain(second)
    }

    pub(super) fn uses(self) -> impl Iterator<Item = VReg> {
        let (left, right) = match self {
            Self::Branch { left, right: Operand::Reg(right), .. } => (Some(left), Some(right)),
            Self::Branch { left, .. } => (Some(left), None),
            _ => (None, None),
        };
        left.into_iter().chain(right)
    }
}

impl Inst {
    /// The register that it assigns.
    pub(super) fn def(&self) -> Option<VReg> {
        match self {
            Self::Context { dst }
            | Self::Const { dst, .. }
            | Self::Copy { dst, .. }
            | Self::Binary { dst, .. }
            | Self::SignExtend { dst, .. }
            | Self::Number { dst, .. }
            | Self::Load { dst, .. }
            | Self::Put { dst, .. }
            | Self::Take { dst, .. }
            | Self::CompareExchange { dst, .. }
            | Self::Address { dst, .. }
            | Self::Bucket { dst, .. }
            | Self::MapValue { dst, .. } => Some(*dst),
            Self::Call { dst, .. } => *dst,
            Self::Store { .. } => None,
        }
    }

    /// The registers that it reads.
    pub(super) fn uses(&self) -> Vec<VReg> {
        let of = |operand: &Operand| match operand {
            Operand::Reg(reg) => Some(*reg),
            Operand::Imm(_) => None,
        };
        let base_of = |base: &Base| match base {
            Base::Reg(reg) => Some(*reg),
            Base::Slot(_) => None,
        };
        match self {
            Self::Context { .. } | Self::Const { .. } | Self::MapValue { .. } | Self::Address { .. } => Vec::new(),
            Self::Copy { src, .. }
            | Self::Bucket { hash: src, .. }
            | Self::SignExtend { src, .. }
            | Self::Number { src, .. } => vec![*src],
            Self::Binary { left, right, .. } => [Some(*left), of(right)].into_iter().flatten().collect(),
            Self::Load { base, .. } => base_of(base).into_iter().collect(),
            Self::Store { base, value, .. } => [base_of(base), of(value)].into_iter().flatten().collect(),
            Self::CompareExchange { base, expected, new, .. } => vec![*base, *expected, *new],
            Self::Call { args, .. } => args
                .iter()
                .filter_map(|arg| match arg {
                    Arg::Reg(reg) => Some(*reg),
                    _ => None,
                })
                .collect(),
            Self::Put { value: arg, .. } | Self::Take { to: arg, .. } => match arg {
                Arg::Reg(reg) => vec![*reg],
                _ => Vec::new(),
            },
        }
    }

    /// Whether it calls a helper, which leaves nothing in r1–r5; and whether it reads its registers after that, too.
    pub(super) fn calls(&self) -> Option<Calls> {
        match self {
            // It takes its operands as a call does.
            Self::Call { .. } | Self::CompareExchange { .. } => Some(Calls::Once),
            Self::Put { .. } | Self::Take { .. } => Some(Calls::Often),
            _ => None,
        }
    }
}

/// How often an instruction calls helpers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    Once,
    Often,
}

/// The content of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlockData {
    pub insts: Vec<Inst>,
    pub end: Option<Terminator>,
}

/// A program under construction. Blocks are laid out in the order in which they were begun.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub name: String,
    pub types: Vec<Ty>,
    /// Bytes of each stack buffer.
    pub slots: Vec<u32>,
    pub blocks: Vec<BlockData>,
    pub order: Vec<Block>,
}

impl Function {
    pub(super) fn new(name: String) -> Self {
        let mut function = Self { name, types: Vec::new(), slots: Vec::new(), blocks: Vec::new(), order: Vec::new() };
        let entry = function.block();
        function.begin(entry);
        function
    }

    pub(super) fn block(&mut self) -> Block {
        self.blocks.push(BlockData::default());
        Block(self.blocks.len() as u32 - 1)
    }

    pub(super) fn reg(&mut self, ty: Ty) -> VReg {
        self.types.push(ty);
        VReg(self.types.len() as u32 - 1)
    }

    pub(super) fn slot(&mut self, size: u32) -> Slot {
        self.slots.push(size);
        Slot(self.slots.len() as u32 - 1)
    }

    /// Instructions go to this block from now on.
    pub(super) fn begin(&mut self, block: Block) {
        self.order.push(block);
    }

    pub(super) fn data(&self, block: Block) -> &BlockData {
        &self.blocks[block.0 as usize]
    }

    pub(super) fn ty(&self, reg: VReg) -> Ty {
        self.types[reg.0 as usize]
    }

    fn current(&mut self) -> &mut BlockData {
        let block = self.order[self.order.len() - 1];
        &mut self.blocks[block.0 as usize]
    }

    pub(super) fn push(&mut self, inst: Inst) {
        self.current().insts.push(inst);
    }

    /// Ends the current block; what follows an end that is already there can't be reached and is dropped.
    pub(super) fn end(&mut self, end: Terminator) {
        self.current().end.get_or_insert(end);
    }

    pub(super) fn jump(&mut self, target: Block) {
        self.end(Terminator::Jump(target));
    }

    pub(super) fn branch(&mut self, cmp: Cmp, left: VReg, right: impl Into<Operand>, then: Block, otherwise: Block) {
        self.end(Terminator::Branch { cmp, left, right: right.into(), then, otherwise });
    }

    /// Goes on in a new block unless the comparison holds.
    pub(super) fn leave_if(&mut self, cmp: Cmp, left: VReg, right: impl Into<Operand>, away: Block) {
        let next = self.block();
        self.branch(cmp, left, right, away, next);
        self.begin(next);
    }

    pub(super) fn constant(&mut self, value: i64) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Const { dst, value });
        dst
    }

    pub(super) fn copy(&mut self, src: VReg) -> VReg {
        let dst = self.reg(self.ty(src));
        self.push(Inst::Copy { dst, src });
        dst
    }

    pub(super) fn binary(&mut self, op: BinOp, left: VReg, right: impl Into<Operand>) -> VReg {
        let dst = self.reg(self.ty(left));
        self.push(Inst::Binary { op, dst, left, right: right.into() });
        dst
    }

    /// `reg = reg op right`.
    pub(super) fn update(&mut self, op: BinOp, reg: VReg, right: impl Into<Operand>) {
        self.push(Inst::Binary { op, dst: reg, left: reg, right: right.into() });
    }

    pub(super) fn sign_extend(&mut self, src: VReg, bits: u8) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::SignExtend { dst, src, bits });
        dst
    }

    pub(super) fn number(&mut self, src: VReg) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Number { dst, src });
        dst
    }

    pub(super) fn load(&mut self, base: impl Into<Base>, offset: u32, size: u8) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Load { dst, base: base.into(), offset: offset as i32, size });
        dst
    }

    pub(super) fn store(&mut self, base: impl Into<Base>, offset: u32, size: u8, value: impl Into<Operand>) {
        self.push(Inst::Store { base: base.into(), offset: offset as i32, size, value: value.into() });
    }

    pub(super) fn call(&mut self, helper: Helper, args: &[Arg], ty: Ty) -> VReg {
        let dst = self.reg(ty);
        self.push(Inst::Call { dst: Some(dst), helper, args: args.to_vec() });
        dst
    }

    pub(super) fn call_for_effect(&mut self, helper: Helper, args: &[Arg]) {
        self.push(Inst::Call { dst: None, helper, args: args.to_vec() });
    }

    /// Leads ends past blocks that only jump on, and drops from the order what nothing reaches: the kernel refuses it.
    pub(super) fn prune(&mut self) {
        for block in self.order.clone() {
            let mut end = self.data(block).end;
            match &mut end {
                Some(Terminator::Jump(target)) => *target = self.destination(*target),
                Some(Terminator::Branch { then, otherwise, .. }) => {
                    (*then, *otherwise) = (self.destination(*then), self.destination(*otherwise));
                }
                Some(Terminator::Exit) | None => {}
            }
            self.blocks[block.0 as usize].end = end;
        }
        let mut reached = vec![false; self.blocks.len()];
        let mut work: Vec<Block> = self.order.first().copied().into_iter().collect();
        while let Some(block) = work.pop() {
            if !std::mem::replace(&mut reached[block.0 as usize], true) {
                work.extend(self.data(block).end.into_iter().flat_map(Terminator::targets));
            }
        }
        self.order.retain(|block| reached[block.0 as usize]);
    }
}

impl Function {
    /// Where a jump to this block ends up; an empty loop ends up in itself.
    fn destination(&self, mut block: Block) -> Block {
        for _ in 0..self.blocks.len() {
            match self.data(block) {
                BlockData { insts, end: Some(Terminator::Jump(next)) } if insts.is_empty() => block = *next,
                _ => break,
            }
        }
        block
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Self {
        Self::Imm(value)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Self::Imm(value.into())
    }
}

impl From<VReg> for Base {
    fn from(reg: VReg) -> Self {
        Self::Reg(reg)
    }
}

impl From<Slot> for Base {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

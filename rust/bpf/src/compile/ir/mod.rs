//! The intermediate form: virtual registers and blocks, between a spec's expressions and BPF's eleven registers.
//!
//! Comes from `build`; goes to `verify`, then to register allocation. Everything is 64 bits wide, as BPF's registers
//! are; a narrower load widens with zeros, and [`Inst::SignExtend`] widens with the sign. A virtual register may be
//! assigned more than once (loops need that); it has one type for life.

mod function;
mod text;
mod verify;

use super::MapRef;

pub(super) use function::Function;
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

//! The encoding of BPF instructions: the numbers of `linux/bpf.h` and `linux/bpf_common.h`, and nothing else.
//!
//! In: an operation and its operands. Out: [`Insn`]s. Who chooses them is `emit`; who reads them back is `disasm`.

use super::Insn;
use super::ir::{BinOp, Cmp};

pub(super) const LDX: u8 = 0x01;
pub(super) const ST: u8 = 0x02;
pub(super) const STX: u8 = 0x03;
pub(super) const JMP: u8 = 0x05;
pub(super) const ALU64: u8 = 0x07;
pub(super) const MEM: u8 = 0x60;
/// The mode of atomic operations; the immediate says which.
pub(super) const ATOMIC: u8 = 0xc0;
/// `BPF_CMPXCHG`: with r0, to which the old value goes.
pub(super) const COMPARE_EXCHANGE: i32 = 0xf1;
/// The flag that makes the second operand a register.
pub(super) const X: u8 = 0x08;
pub(super) const LD_IMM64: u8 = 0x18;
pub(super) const MOV: u8 = 0xb0;
pub(super) const NEG: u8 = 0x80;
pub(super) const JA: u8 = 0x00;
pub(super) const CALL: u8 = 0x80;
pub(super) const EXIT: u8 = 0x90;
/// Source register of a `LD_IMM64` whose immediate is a map's descriptor.
pub(super) const PSEUDO_MAP_FD: u8 = 1;
/// The same, and its value is the address of the map's first value.
pub(super) const PSEUDO_MAP_VALUE: u8 = 2;
/// The register that points behind the stack's end.
pub(super) const FRAME: u8 = 10;

impl Insn {
    pub(super) fn new(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Self {
        let regs = u64::from(dst) | u64::from(src) << 4;
        let (offset, imm) = (u64::from(offset as u16), u64::from(imm as u32));
        Self(u64::from(opcode) | regs << 8 | offset << 16 | imm << 32)
    }

    /// Its operation code.
    pub fn opcode(self) -> u8 {
        self.0 as u8
    }

    /// Its destination register.
    pub fn dst(self) -> u8 {
        (self.0 >> 8) as u8 & 0xf
    }

    /// Its source register.
    pub fn src(self) -> u8 {
        (self.0 >> 12) as u8 & 0xf
    }

    /// Its offset, in bytes for memory and in instructions for jumps.
    pub fn offset(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// Its immediate.
    pub fn imm(self) -> i32 {
        (self.0 >> 32) as i32
    }

    /// The same with another immediate: how the loader puts a map's descriptor in.
    #[must_use]
    pub fn with_imm(self, imm: i32) -> Self {
        Self(self.0 & 0xffff_ffff | u64::from(imm as u32) << 32)
    }

    pub(super) fn with_offset(self, offset: i16) -> Self {
        Self(self.0 & !0xffff_0000 | u64::from(offset as u16) << 16)
    }
}

/// The bits of a memory access's size.
pub(super) fn size_bits(size: u8) -> u8 {
    match size {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        _ => 0x18,
    }
}

/// The bits of an arithmetic operation.
pub(super) fn alu_bits(op: BinOp) -> u8 {
    match op {
        BinOp::Add => 0x00,
        BinOp::Sub => 0x10,
        BinOp::Mul => 0x20,
        BinOp::DivU => 0x30,
        BinOp::Or => 0x40,
        BinOp::And => 0x50,
        BinOp::Shl => 0x60,
        BinOp::ShrU => 0x70,
        BinOp::ModU => 0x90,
        BinOp::Xor => 0xa0,
        BinOp::ShrS => 0xc0,
    }
}

/// The bits of a conditional jump.
pub(super) fn jump_bits(cmp: Cmp) -> u8 {
    match cmp {
        Cmp::Eq => 0x10,
        Cmp::GtU => 0x20,
        Cmp::GeU => 0x30,
        Cmp::Ne => 0x50,
        Cmp::GtS => 0x60,
        Cmp::GeS => 0x70,
        Cmp::LtU => 0xa0,
        Cmp::LeU => 0xb0,
        Cmp::LtS => 0xc0,
        Cmp::LeS => 0xd0,
    }
}

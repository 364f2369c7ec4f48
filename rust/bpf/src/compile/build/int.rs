//! Numbers. In: an expression. Out: an [`Int`]: its value, widened to 64 bits exactly, and its type.
//!
//! Arithmetic is of 64 bits and wraps. It is unsigned as soon as an operand is an unsigned 64-bit number; every smaller
//! number fits the signed ones.

use spile_core::error::Error;
use spile_core::spec::{Expr, UnaryOperator};

use super::super::access::{Access, Leaf};
use super::super::ir::{BinOp, Block, Operand, VReg};
use super::super::{ProgramKind, REGISTERS};
use super::Build;

/// A number at run time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Int {
    pub operand: Operand,
    pub size: u8,
    pub signed: bool,
}

impl Int {
    pub(super) fn reg(reg: VReg, size: u8, signed: bool) -> Self {
        Self { operand: Operand::Reg(reg), size, signed }
    }

    pub(super) fn constant(value: i64, size: u8, signed: bool) -> Self {
        Self { operand: Operand::Imm(value), size, signed }
    }

    /// A literal: signed if it can be.
    pub(super) fn literal(value: i128) -> Option<Self> {
        match i64::try_from(value) {
            Ok(value) => Some(Self::constant(value, 8, true)),
            Err(_) => u64::try_from(value).ok().map(|value| Self::constant(value as i64, 8, false)),
        }
    }

    /// Whether its values reach beyond the signed ones.
    pub(super) fn is_u64(self) -> bool {
        self.size == 8 && !self.signed
    }

    /// Whether it is at least 0 as a signed number.
    pub(super) fn is_natural(self) -> bool {
        match self.operand {
            Operand::Imm(value) => value >= 0 && !self.is_u64(),
            Operand::Reg(_) => !self.signed && self.size < 8,
        }
    }
}

impl Build<'_> {
    /// Computes an expression; a read that fails goes to `fault`.
    pub(super) fn int(&mut self, expr: &Expr, fault: Block) -> Result<Int, Error> {
        match expr {
            Expr::Int { value } => match Int::literal(*value) {
                Some(literal) => Ok(literal),
                None => self.refuse(format!("{value} does not fit 64 bits")),
            },
            Expr::Context { name } => self.context_int(*name, fault),
            Expr::Field { path } => {
                let access = self.request.fields.resolve(path)?;
                self.accessed(access, fault)
            }
            Expr::Binary { operator, left, right } => {
                let left = self.int(left, fault)?;
                let right = self.int(right, fault)?;
                Ok(self.arithmetic(*operator, left, right))
            }
            Expr::Unary { operator, operand } => {
                let operand = self.int(operand, fault)?;
                Ok(match operator {
                    UnaryOperator::Negate => self.negated(operand),
                    UnaryOperator::Invert => self.inverted(operand),
                })
            }
            Expr::Stack { .. } => self.refuse("a stack is no number"),
            Expr::AtStart { value } => self.kept_int(value, fault),
            Expr::String { .. } => self.refuse("a string is no number"),
        }
    }

    /// The number that is there.
    pub(super) fn accessed(&mut self, access: Access, fault: Block) -> Result<Int, Error> {
        match access {
            Access::Ctx { offset, size, signed } => {
                let value = self.context_word(offset, size)?;
                Ok(self.widened(value, size, signed))
            }
            Access::Read { ctx_offset, derefs, offset, leaf } => {
                let pointer = self.follow(ctx_offset, &derefs, fault)?;
                self.leaf(pointer, offset, leaf, fault)
            }
            _ => self.refuse("a string or an array is no number"),
        }
    }

    /// A word of the context. At a kretprobe those that were arguments are others by now, and are taken from the entry.
    fn context_word(&mut self, offset: u32, size: u8) -> Result<VReg, Error> {
        if let Some(word) = self.kept_word(offset, size) {
            return Ok(word);
        }
        let is_gone = REGISTERS.is_some_and(|registers| registers.result != offset);
        if self.request.kind == ProgramKind::Kretprobe && is_gone {
            return self.refuse("a kretprobe has no arguments: take function_return alone, or attach=\"fentry\"");
        }
        let value = self.f.load(self.context, offset, size);
        Ok(if size == 8 && self.request.kind.has_typed_context() { self.f.number(value) } else { value })
    }

    /// The pointer at the end of a chain of them.
    pub(super) fn follow(&mut self, ctx_offset: u32, derefs: &[u32], fault: Block) -> Result<VReg, Error> {
        let mut pointer = self.context_word(ctx_offset, 8)?;
        for offset in derefs {
            pointer = self.kernel_read(pointer, *offset, 8, fault);
        }
        Ok(pointer)
    }

    fn leaf(&mut self, pointer: VReg, offset: u32, leaf: Leaf, fault: Block) -> Result<Int, Error> {
        match leaf {
            Leaf::Int { size, signed } => {
                let value = self.kernel_read(pointer, offset, size, fault);
                Ok(self.widened(value, size, signed))
            }
            Leaf::Bits { size, shift, width, signed } => {
                let word = self.kernel_read(pointer, offset, size, fault);
                let (left, right) = (64 - i64::from(shift) - i64::from(width), 64 - i64::from(width));
                if left < 0 || width == 0 {
                    return self.refuse("a bit field that does not lie within its word");
                }
                let high = if left == 0 { word } else { self.f.binary(BinOp::Shl, word, left) };
                let op = if signed { BinOp::ShrS } else { BinOp::ShrU };
                let value = if right == 0 { high } else { self.f.binary(op, high, right) };
                Ok(Int::reg(value, size, signed))
            }
            Leaf::String { .. } => self.refuse("a string is no number"),
        }
    }

    /// What was widened with zeros, widened as its type wants.
    fn widened(&mut self, value: VReg, size: u8, signed: bool) -> Int {
        let value = if signed && size < 8 { self.f.sign_extend(value, size * 8) } else { value };
        Int::reg(value, size, signed)
    }

    /// The number in a register.
    pub(super) fn in_reg(&mut self, value: Int) -> VReg {
        match value.operand {
            Operand::Reg(reg) => reg,
            Operand::Imm(value) => self.f.constant(value),
        }
    }
}

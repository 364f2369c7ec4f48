//! Python's operators on 64 bits that wrap. In: [`Int`]s. Out: an [`Int`].
//!
//! `//` and `%` floor, and by 0 give 0; a shift by 64 or more (or by a negative count) shifts everything out. BPF has
//! unsigned division only before Linux 6.6, so signed ones divide magnitudes.

use spile_core::spec::BinaryOperator;

use super::super::ir::{BinOp, Cmp, Inst, Operand, Ty, VReg};
use super::Build;
use super::int::Int;

impl Build<'_> {
    pub(super) fn arithmetic(&mut self, operator: BinaryOperator, left: Int, right: Int) -> Int {
        let op = match operator {
            BinaryOperator::Add => BinOp::Add,
            BinaryOperator::Subtract => BinOp::Sub,
            BinaryOperator::Multiply => BinOp::Mul,
            BinaryOperator::And => BinOp::And,
            BinaryOperator::Or => BinOp::Or,
            BinaryOperator::Xor => BinOp::Xor,
            BinaryOperator::FloorDivide => return self.divided(BinOp::DivU, left, right),
            BinaryOperator::Modulo => return self.divided(BinOp::ModU, left, right),
            BinaryOperator::ShiftLeft => return self.shifted(BinOp::Shl, left, right),
            BinaryOperator::ShiftRight => {
                let op = if left.is_u64() || left.is_natural() { BinOp::ShrU } else { BinOp::ShrS };
                return self.shifted(op, left, right);
            }
        };
        let signed = !left.is_u64() && !right.is_u64();
        let left = self.in_reg(left);
        Int::reg(self.f.binary(op, left, right.operand), 8, signed)
    }

    pub(super) fn negated(&mut self, operand: Int) -> Int {
        let zero = self.f.constant(0);
        Int::reg(self.f.binary(BinOp::Sub, zero, operand.operand), 8, !operand.is_u64())
    }

    /// All bits of the operand's own width.
    pub(super) fn inverted(&mut self, operand: Int) -> Int {
        let reg = self.in_reg(operand);
        let ones: i64 = if operand.signed || operand.size == 8 { -1 } else { (1 << (8 * operand.size)) - 1 };
        Int::reg(self.f.binary(BinOp::Xor, reg, ones), operand.size, operand.signed)
    }

    fn shifted(&mut self, op: BinOp, left: Int, count: Int) -> Int {
        let signed = !left.is_u64();
        let value = self.in_reg(left);
        let shifted_out = |build: &mut Self, dst: Option<VReg>| {
            let all = if op == BinOp::ShrS { build.f.binary(op, value, 63) } else { build.f.constant(0) };
            match dst {
                Some(dst) => build.f.push(Inst::Copy { dst, src: all }),
                None => return all,
            }
            all
        };
        let reg = match count.operand {
            Operand::Imm(count @ 0..=63) => self.f.binary(op, value, count),
            Operand::Imm(_) => shifted_out(self, None),
            Operand::Reg(count) => {
                let (far, near, done) = (self.f.block(), self.f.block(), self.f.block());
                let dst = self.f.reg(Ty::Int);
                self.f.branch(Cmp::GtU, count, 63, far, near);
                self.f.begin(far);
                shifted_out(self, Some(dst));
                self.f.jump(done);
                self.f.begin(near);
                self.f.push(Inst::Binary { op, dst, left: value, right: Operand::Reg(count) });
                self.f.jump(done);
                self.f.begin(done);
                dst
            }
        };
        Int::reg(reg, 8, signed)
    }

    fn divided(&mut self, op: BinOp, left: Int, right: Int) -> Int {
        let is_unsigned = left.is_u64() || right.is_u64();
        let is_plain = is_unsigned || (left.is_natural() && right.is_natural());
        if right.operand == Operand::Imm(0) {
            return Int::constant(0, 8, !is_unsigned);
        }
        let result = self.f.reg(Ty::Int);
        let done = self.f.block();
        let value = self.in_reg(left);
        if let Operand::Reg(divisor) = right.operand {
            self.f.push(Inst::Const { dst: result, value: 0 });
            self.f.leave_if(Cmp::Eq, divisor, 0, done);
        }
        if is_plain {
            self.f.push(Inst::Binary { op, dst: result, left: value, right: right.operand });
        } else {
            let divisor = self.in_reg(right);
            self.floor(op, result, value, divisor);
        }
        self.f.jump(done);
        self.f.begin(done);
        Int::reg(result, 8, !is_unsigned)
    }

    /// Signed division or remainder that floors. The divisor is not 0.
    fn floor(&mut self, op: BinOp, result: VReg, value: VReg, divisor: VReg) {
        let (magnitude, divisor_magnitude) = (self.magnitude(value), self.magnitude(divisor));
        let signs = self.f.binary(BinOp::Xor, value, divisor);
        let done = self.f.block();
        let (negate, same) = (self.f.block(), self.f.block());
        if op == BinOp::DivU {
            // With unequal signs the quotient is -ceil(|a| / |b|) = -((|a| + |b| - 1) / |b|), but |a| + |b| may wrap.
            let quotient = self.f.binary(BinOp::DivU, magnitude, divisor_magnitude);
            self.f.push(Inst::Copy { dst: result, src: quotient });
            self.f.branch(Cmp::LtS, signs, 0, negate, done);
            self.f.begin(negate);
            let zero = self.f.constant(0);
            self.f.push(Inst::Binary { op: BinOp::Sub, dst: result, left: zero, right: Operand::Reg(quotient) });
            let rest = self.f.binary(BinOp::ModU, magnitude, divisor_magnitude);
            self.f.leave_if(Cmp::Eq, rest, 0, done);
            self.f.update(BinOp::Sub, result, 1);
        } else {
            // The remainder has the divisor's sign; with unequal signs it is what is missing to the next multiple.
            self.f.push(Inst::Binary {
                op: BinOp::ModU,
                dst: result,
                left: magnitude,
                right: Operand::Reg(divisor_magnitude),
            });
            self.f.leave_if(Cmp::Eq, result, 0, done);
            self.f.branch(Cmp::LtS, signs, 0, negate, same);
            self.f.begin(negate);
            self.f.push(Inst::Binary {
                op: BinOp::Sub,
                dst: result,
                left: divisor_magnitude,
                right: Operand::Reg(result),
            });
            self.f.jump(same);
            self.f.begin(same);
            self.f.leave_if(Cmp::GeS, divisor, 0, done);
            let zero = self.f.constant(0);
            self.f.push(Inst::Binary { op: BinOp::Sub, dst: result, left: zero, right: Operand::Reg(result) });
        }
        self.f.jump(done);
        self.f.begin(done);
    }

    /// `abs`, with 2^63 for the least number, as an unsigned one.
    fn magnitude(&mut self, value: VReg) -> VReg {
        let sign = self.f.binary(BinOp::ShrS, value, 63);
        let flipped = self.f.binary(BinOp::Xor, value, sign);
        self.f.binary(BinOp::Sub, flipped, sign)
    }
}

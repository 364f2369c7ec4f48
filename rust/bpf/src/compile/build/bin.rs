//! Bins and registers in bytecode. In: a number. Out: what `spile_core::aggregate::bin` makes of it.
//!
//! Without branches, where they would double the paths that the kernel's verifier follows.

use spile_core::aggregate::bin::{Bin, MIX, MIX_SHIFT, REGISTER_BITS, SUB_BITS};

use super::super::ir::{BinOp, Cmp, Inst, Operand, Ty, VReg};
use super::Build;
use super::int::Int;

impl Build<'_> {
    /// The bin of a value.
    pub(super) fn bin(&mut self, bin: Bin, value: Int) -> VReg {
        match bin {
            Bin::Linear { low, high, step } => self.linear(low, high, step, value),
            Bin::Log2 => self.of_magnitude(value, false, Self::bit_length),
            Bin::LogLinear => self.of_magnitude(value, true, Self::log_linear),
        }
    }

    /// Applies `bin` to the absolute value; of a negative one the answer is the complement, or else it is negated.
    fn of_magnitude(&mut self, value: Int, complement: bool, bin: fn(&mut Self, VReg) -> VReg) -> VReg {
        let reg = self.in_reg(value);
        if value.is_natural() || value.is_u64() {
            return bin(self, reg);
        }
        let sign = self.f.binary(BinOp::ShrS, reg, 63);
        let flipped = self.f.binary(BinOp::Xor, reg, sign);
        let magnitude = self.f.binary(BinOp::Sub, flipped, sign);
        let bin = bin(self, magnitude);
        let bin = self.f.binary(BinOp::Xor, bin, sign);
        if complement { bin } else { self.f.binary(BinOp::Sub, bin, sign) }
    }

    /// How many bits a number without a sign has. Each step tells by a sign bit whether the upper half has any.
    fn bit_length(&mut self, magnitude: VReg) -> VReg {
        let zero = self.f.constant(0);
        let upper = self.f.binary(BinOp::ShrU, magnitude, 32);
        let negative = self.f.binary(BinOp::Sub, zero, upper);
        let (rest, length) = (self.f.copy(magnitude), self.f.reg(Ty::Int));
        let shift = self.f.binary(BinOp::ShrU, negative, 63);
        self.f.update(BinOp::Shl, shift, 5);
        self.f.update(BinOp::ShrU, rest, shift);
        self.f.push(Inst::Copy { dst: length, src: shift });
        for bits in [16_i64, 8, 4, 2, 1] {
            let most = self.f.constant((1 << bits) - 1);
            let negative = self.f.binary(BinOp::Sub, most, rest);
            let shift = self.f.binary(BinOp::ShrU, negative, 63);
            if bits > 1 {
                self.f.update(BinOp::Shl, shift, i64::from(bits.ilog2()));
            }
            self.f.update(BinOp::ShrU, rest, shift);
            self.f.update(BinOp::Add, length, shift);
        }
        // What is left is 1, or 0 of 0.
        self.f.update(BinOp::Add, length, rest);
        length
    }

    fn log_linear(&mut self, magnitude: VReg) -> VReg {
        let shift = self.bit_length(magnitude);
        self.f.update(BinOp::Sub, shift, i64::from(SUB_BITS) + 1);
        let sign = self.f.binary(BinOp::ShrS, shift, 63);
        self.f.update(BinOp::Xor, sign, -1);
        self.f.update(BinOp::And, shift, sign);
        let within = self.f.binary(BinOp::ShrU, magnitude, shift);
        let first = self.f.binary(BinOp::Shl, shift, i64::from(SUB_BITS));
        self.f.binary(BinOp::Add, within, first)
    }

    fn linear(&mut self, low: i64, high: i64, step: u64, value: Int) -> VReg {
        let reg = self.in_reg(value);
        let step = step.max(1);
        let last = 1 + ((i128::from(high) - i128::from(low)) / i128::from(step)) as i64;
        let bin = self.f.constant(last);
        let done = self.f.block();
        let (less, not_less) = if value.is_u64() { (Cmp::LtU, Cmp::GeU) } else { (Cmp::LtS, Cmp::GeS) };
        // Of numbers without a sign, all are above a bound below 0.
        let (no_low, no_high) = (value.is_u64() && low <= 0, value.is_u64() && high <= 0);
        if no_high {
            return bin;
        }
        self.f.leave_if(not_less, reg, high, done);
        self.f.push(Inst::Const { dst: bin, value: 0 });
        if !no_low {
            self.f.leave_if(less, reg, low, done);
        }
        let low = self.f.constant(low);
        self.f.push(Inst::Binary { op: BinOp::Sub, dst: bin, left: reg, right: Operand::Reg(low) });
        if step > 1 {
            let step = self.f.constant(step as i64);
            self.f.update(BinOp::DivU, bin, step);
        }
        self.f.update(BinOp::Add, bin, 1);
        self.f.jump(done);
        self.f.begin(done);
        bin
    }

    /// Mixes one more word into the hash of a value.
    pub(super) fn mixed(&mut self, hash: VReg, word: VReg) {
        self.f.update(BinOp::Xor, hash, word);
        for factor in MIX {
            self.folded(hash);
            let factor = self.f.constant(factor.cast_signed());
            self.f.update(BinOp::Mul, hash, factor);
        }
        self.folded(hash);
    }

    fn folded(&mut self, hash: VReg) {
        let high = self.f.binary(BinOp::ShrU, hash, i64::from(MIX_SHIFT));
        self.f.update(BinOp::Xor, hash, high);
    }

    /// A hash's register and its rank.
    pub(super) fn register(&mut self, hash: VReg) -> (VReg, VReg) {
        let register = self.f.binary(BinOp::ShrU, hash, i64::from(64 - REGISTER_BITS));
        let rest = self.f.binary(BinOp::Shl, hash, i64::from(REGISTER_BITS));
        self.f.update(BinOp::Or, rest, 1_i64 << (REGISTER_BITS - 1));
        let length = self.bit_length(rest);
        let most = self.f.constant(65);
        (register, self.f.binary(BinOp::Sub, most, length))
    }
}

//! The printed form of a function. In: IR. Out: text, one instruction a line, for `explain` and for tests.

use std::fmt;

use super::{Arg, Base, BinOp, Block, Cmp, Function, Inst, Operand, Slot, Terminator, Ty, VReg};

impl fmt::Display for VReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block{}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot{}", self.0)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => reg.fmt(f),
            Self::Imm(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => reg.fmt(f),
            Self::Slot(slot) => slot.fmt(f),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => reg.fmt(f),
            Self::Imm(value) => value.fmt(f),
            Self::Slot(slot) => write!(f, "&{slot}"),
            Self::Map(map) => write!(f, "{map:?}"),
        }
    }
}

impl fmt::Display for BinOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::DivU => "/u",
            Self::ModU => "%u",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::Shl => "<<",
            Self::ShrU => ">>u",
            Self::ShrS => ">>s",
        })
    }
}

impl fmt::Display for Cmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::LtU => "<u",
            Self::LeU => "<=u",
            Self::GtU => ">u",
            Self::GeU => ">=u",
            Self::LtS => "<s",
            Self::LeS => "<=s",
            Self::GtS => ">s",
            Self::GeS => ">=s",
        })
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context { dst } => write!(f, "{dst} = context"),
            Self::Const { dst, value } => write!(f, "{dst} = {value}"),
            Self::Copy { dst, src } => write!(f, "{dst} = {src}"),
            Self::Binary { op, dst, left, right } => write!(f, "{dst} = {left} {op} {right}"),
            Self::SignExtend { dst, src, bits } => write!(f, "{dst} = sign{bits} {src}"),
            Self::Number { dst, src } => write!(f, "{dst} = number {src}"),
            Self::Load { dst, base, offset, size } => write!(f, "{dst} = load{} {base}+{offset}", size * 8),
            Self::Store { base, offset, size, value } => write!(f, "store{} {base}+{offset}, {value}", size * 8),
            Self::Address { dst, slot } => write!(f, "{dst} = &{slot}"),
            Self::Bucket { dst, hash } => write!(f, "{dst} = bucket {hash}"),
            Self::MapValue { dst, map } => write!(f, "{dst} = &{map:?}[0]"),
            Self::CompareExchange { dst, base, offset, expected, new } => {
                write!(f, "{dst} = exchange64 {base}+{offset}, {expected} for {new}")
            }
            Self::Call { dst, helper, args } => {
                if let Some(dst) = dst {
                    write!(f, "{dst} = ")?;
                }
                let args: Vec<String> = args.iter().map(Arg::to_string).collect();
                write!(f, "{helper:?}({})", args.join(", "))
            }
            Self::Put { dst, map, key, value, size, restart } => {
                let how = if *restart { "restart" } else { "keep" };
                write!(f, "{dst} = put {map:?}[{key}], {value}, {size} bytes, {how}")
            }
            Self::Take { dst, map, key, to, size } => write!(f, "{dst} = take {map:?}[{key}] to {to}, {size} bytes"),
        }
    }
}

impl fmt::Display for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(target) => write!(f, "jump {target}"),
            Self::Branch { cmp, left, right, then, otherwise } => {
                write!(f, "if {left} {cmp} {right} then {then} else {otherwise}")
            }
            Self::Exit => f.write_str("exit"),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (index, size) in self.slots.iter().enumerate() {
            writeln!(f, "  slot{index}: {size} bytes")?;
        }
        for &block in &self.order {
            writeln!(f, "{block}:")?;
            for inst in &self.data(block).insts {
                let is_pointer = inst.def().is_some_and(|dst| self.ty(dst) == Ty::Ptr);
                writeln!(f, "  {inst}{}", if is_pointer { "  ; pointer" } else { "" })?;
            }
            if let Some(end) = self.data(block).end {
                writeln!(f, "  {end}")?;
            }
        }
        Ok(())
    }
}

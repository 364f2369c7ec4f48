//! Looks a function over before registers are allocated. A fault is spile's own bug, and is told before the kernel does.
//!
//! The rules:
//! 1. every block in the order has an end, and every end's targets are in the order, each once;
//! 2. on every path a register is assigned before it is read;
//! 3. numbers are added to pointers, or subtracted from them, and nothing else is done to a pointer;
//! 4. a pointer is compared with 0 by == and != only;
//! 5. memory is addressed from a pointer or a slot, in sizes of 1, 2, 4 and 8 bytes;
//! 6. an access to a slot lies within it, at its natural alignment;
//! 7. a call has at most four arguments;
//! 8. a sign is extended from 1 to 63 bits, and an immediate shift count is below 64;
//! 9. an immediate divisor isn't 0;
//! 10. the context's register is assigned once.

use super::{Base, BinOp, Cmp, Function, Inst, Operand, Terminator, Ty, VReg};

/// The first rule that a function breaks, in words.
pub(in crate::compile) fn verify(function: &Function) -> Result<(), String> {
    let mut seen = vec![false; function.blocks.len()];
    for block in &function.order {
        if std::mem::replace(&mut seen[block.0 as usize], true) {
            return Err(format!("{block} is in the order twice"));
        }
    }
    for &block in &function.order {
        let Some(end) = function.data(block).end else {
            return Err(format!("{block} has no end"));
        };
        if let Some(target) = end.targets().find(|target| !seen[target.0 as usize]) {
            return Err(format!("{block} leads to {target}, which is not in the order"));
        }
        for inst in &function.data(block).insts {
            check_inst(function, inst).map_err(|fault| format!("{block}: {inst}: {fault}"))?;
        }
        check_end(function, end).map_err(|fault| format!("{block}: {end}: {fault}"))?;
    }
    check_context(function)?;
    check_assigned(function)
}

fn check_inst(function: &Function, inst: &Inst) -> Result<(), String> {
    match inst {
        Inst::Binary { op, dst, left, right } => {
            let right_ty = right_ty(function, right);
            let (dst_ty, left_ty) = (function.ty(*dst), function.ty(*left));
            let may_point = matches!(op, BinOp::Add | BinOp::Sub);
            if right_ty == Ty::Ptr || dst_ty != left_ty || (left_ty == Ty::Ptr && !may_point) {
                return Err("arithmetic on a pointer".into());
            }
            match (op, right) {
                (BinOp::Shl | BinOp::ShrU | BinOp::ShrS, Operand::Imm(count)) if !(0..64).contains(count) => {
                    Err(format!("a shift by {count}"))
                }
                (BinOp::DivU | BinOp::ModU, Operand::Imm(0)) => Err("a division by 0".into()),
                _ => Ok(()),
            }
        }
        Inst::Copy { dst, src } if function.ty(*dst) != function.ty(*src) => Err("the types differ".into()),
        Inst::SignExtend { bits, .. } if !(1..64).contains(bits) => Err(format!("{bits} bits")),
        Inst::Load { base, offset, size, .. } | Inst::Store { base, offset, size, .. } => {
            check_address(function, *base, *offset, *size)
        }
        Inst::Call { args, .. } if args.len() > 4 => Err("more than four arguments".into()),
        _ => Ok(()),
    }
}

/// Rule 10: whoever writes over the context makes every field wrong, and no other rule sees it.
fn check_context(function: &Function) -> Result<(), String> {
    let insts = || function.order.iter().flat_map(|block| &function.data(*block).insts);
    let contexts = insts().filter_map(|inst| if let Inst::Context { dst } = inst { Some(*dst) } else { None });
    for context in contexts {
        if insts().filter(|inst| inst.def() == Some(context)).count() > 1 {
            return Err(format!("{context} is the context and is written over"));
        }
    }
    Ok(())
}

fn check_address(function: &Function, base: Base, offset: i32, size: u8) -> Result<(), String> {
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err(format!("{size} bytes at once"));
    }
    match base {
        Base::Reg(reg) if function.ty(reg) != Ty::Ptr => Err(format!("{reg} is not a pointer")),
        Base::Reg(_) => Ok(()),
        Base::Slot(slot) => {
            let room = i64::from(function.slots[slot.0 as usize]);
            let (start, size) = (i64::from(offset), i64::from(size));
            let fits = start >= 0 && start + size <= room && start % size == 0;
            if fits { Ok(()) } else { Err(format!("outside of {slot} or not aligned")) }
        }
    }
}

fn check_end(function: &Function, end: Terminator) -> Result<(), String> {
    let Terminator::Branch { cmp, left, right, .. } = end else {
        return Ok(());
    };
    let points = function.ty(left) == Ty::Ptr || right_ty(function, &right) == Ty::Ptr;
    if points && (!matches!(cmp, Cmp::Eq | Cmp::Ne) || right != Operand::Imm(0)) {
        return Err("a pointer can be compared with 0 only".into());
    }
    Ok(())
}

fn right_ty(function: &Function, operand: &Operand) -> Ty {
    match operand {
        Operand::Reg(reg) => function.ty(*reg),
        Operand::Imm(_) => Ty::Int,
    }
}

/// Rule 2: what is assigned on every path into a block, to a fixed point.
fn check_assigned(function: &Function) -> Result<(), String> {
    let registers = function.types.len();
    let mut assigned = vec![vec![true; registers]; function.blocks.len()];
    let Some(entry) = function.order.first() else {
        return Err("no block at all".into());
    };
    assigned[entry.0 as usize] = vec![false; registers];
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for &block in &function.order {
            let mut now = assigned[block.0 as usize].clone();
            for dst in function.data(block).insts.iter().filter_map(Inst::def) {
                now[dst.0 as usize] = true;
            }
            for target in function.data(block).end.into_iter().flat_map(Terminator::targets) {
                for (into, from) in assigned[target.0 as usize].iter_mut().zip(&now) {
                    changed |= *into && !*from;
                    *into &= *from;
                }
            }
        }
    }
    for &block in &function.order {
        let mut now = assigned[block.0 as usize].clone();
        let fault = |reg: VReg| format!("{block}: {reg} is read before it is assigned on some path");
        for inst in &function.data(block).insts {
            if let Some(reg) = inst.uses().into_iter().find(|reg| !now[reg.0 as usize]) {
                return Err(fault(reg));
            }
            inst.def().into_iter().for_each(|dst| now[dst.0 as usize] = true);
        }
        if let Some(reg) =
            function.data(block).end.into_iter().flat_map(Terminator::uses).find(|reg| !now[reg.0 as usize])
        {
            return Err(fault(reg));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Arg, Helper};
    use super::*;

    /// A function that goes on from its context as `write` says, and the rule that it breaks.
    fn fault(write: impl FnOnce(&mut Function, VReg)) -> String {
        let mut function = Function::new("bad".into());
        let context = function.reg(Ty::Ptr);
        function.push(Inst::Context { dst: context });
        write(&mut function, context);
        function.end(Terminator::Exit);
        verify(&function).err().unwrap_or_default()
    }

    #[test]
    fn a_good_function_passes() {
        let good = fault(|f, context| {
            let value = f.load(context, 8, 4);
            let away = f.block();
            f.leave_if(Cmp::Eq, value, 0, away);
            f.jump(away);
            f.begin(away);
        });
        assert_eq!(good, "");
    }

    #[test]
    fn each_rule_is_told() {
        let tell = |expected: &str, write: &dyn Fn(&mut Function, VReg)| {
            let found = fault(|f, context| write(f, context));
            assert!(found.contains(expected), "expected {expected:?}, found {found:?}");
        };
        tell("leads to block1, which is not in the order", &|f, _| {
            let nowhere = f.block();
            f.jump(nowhere);
        });
        tell("block0 is in the order twice", &|f, _| f.begin(super::super::Block(0)));
        tell("v1 is read before it is assigned", &|f, _| {
            let never = f.reg(Ty::Int);
            f.copy(never);
        });
        tell("v2 is read before it is assigned on some path", &|f, context| {
            let (value, sometimes, end) = (f.load(context, 0, 8), f.reg(Ty::Int), f.block());
            f.leave_if(Cmp::Eq, value, 0, end);
            f.push(Inst::Const { dst: sometimes, value: 1 });
            f.jump(end);
            f.begin(end);
            f.copy(sometimes);
        });
        tell("v0 is the context and is written over", &|f, context| {
            let other = f.copy(context);
            f.push(Inst::Copy { dst: context, src: other });
        });
        tell("arithmetic on a pointer", &|f, context| {
            f.binary(BinOp::Mul, context, 2);
        });
        tell("a pointer can be compared with 0 only", &|f, context| {
            let away = f.block();
            f.leave_if(Cmp::GtU, context, 0, away);
            f.jump(away);
            f.begin(away);
        });
        tell("v1 is not a pointer", &|f, context| {
            let value = f.load(context, 0, 8);
            f.load(value, 0, 8);
        });
        tell("3 bytes at once", &|f, context| {
            f.load(context, 0, 3);
        });
        tell("outside of slot0 or not aligned", &|f, _| {
            let slot = f.slot(8);
            f.store(slot, 4, 8, 0);
        });
        tell("more than four arguments", &|f, _| f.call_for_effect(Helper::KtimeGetNs, &[Arg::Imm(0); 5]));
        tell("a shift by 64", &|f, context| {
            let value = f.load(context, 0, 8);
            f.binary(BinOp::Shl, value, 64);
        });
        tell("64 bits", &|f, context| {
            let value = f.load(context, 0, 8);
            f.sign_extend(value, 64);
        });
        tell("a division by 0", &|f, context| {
            let value = f.load(context, 0, 8);
            f.binary(BinOp::ModU, value, 0);
        });
    }
}

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
//! 10. the context's register is assigned once;
//! 11. what is compared and exchanged are numbers; the address of a buffer is a pointer, and a table's slots are numbered by
//!     the bits of a number;
//! 12. what is put or taken is kept in a span's map, under a key of 8 bytes, and is whole words, in a slot that holds them
//!     or behind a pointer.

use super::{Arg, Base, BinOp, Cmp, Function, Inst, MapRef, Operand, Slot, Terminator, Ty, VReg};

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
        Inst::CompareExchange { base, offset, expected, new, .. } => {
            if function.ty(*expected) == Ty::Ptr || function.ty(*new) == Ty::Ptr {
                return Err("a pointer is exchanged".into());
            }
            check_address(function, Base::Reg(*base), *offset, 8)
        }
        Inst::Address { dst, .. } if function.ty(*dst) != Ty::Ptr => Err("an address that is a number".into()),
        Inst::Bucket { dst, hash, .. } if [function.ty(*dst), function.ty(*hash)] != [Ty::Int; 2] => {
            Err("the bits of a pointer".into())
        }
        Inst::Call { args, .. } if args.len() > 4 => Err("more than four arguments".into()),
        Inst::Put { map, key, value: at, size, .. } | Inst::Take { map, key, to: at, size, .. } => {
            check_kept(function, *map, *key, *at, *size)
        }
        _ => Ok(()),
    }
}

fn check_kept(function: &Function, map: MapRef, key: Slot, at: Arg, size: u32) -> Result<(), String> {
    let room = |slot: Slot| function.slots[slot.0 as usize];
    if !matches!(map, MapRef::Open(_)) {
        return Err(format!("{map:?} keeps nothing"));
    }
    if room(key) != 8 || size == 0 || !size.is_multiple_of(8) {
        return Err(format!("a key of {} bytes, or a value of {size}", room(key)));
    }
    match at {
        Arg::Slot(slot) if room(slot) >= size => Ok(()),
        Arg::Reg(reg) if function.ty(reg) == Ty::Ptr => Ok(()),
        _ => Err(format!("{at} has no room for {size} bytes")),
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
    use super::super::Helper;
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
        tell("a pointer is exchanged", &|f, context| {
            let (dst, new) = (f.reg(Ty::Int), f.constant(1));
            f.push(Inst::CompareExchange { dst, base: context, offset: 0, expected: context, new });
        });
        tell("64 bits", &|f, context| {
            let value = f.load(context, 0, 8);
            f.sign_extend(value, 64);
        });
        let take = |f: &mut Function, map, key, to, size| {
            let dst = f.reg(Ty::Int);
            f.push(Inst::Take { dst, map, key, to, size });
        };
        tell("Gate keeps nothing", &|f, _| {
            let key = f.slot(8);
            take(f, MapRef::Gate, key, Arg::Slot(key), 8);
        });
        tell("a value of 12", &|f, _| {
            let (key, to) = (f.slot(8), f.slot(16));
            take(f, MapRef::Open(0), key, Arg::Slot(to), 12);
        });
        tell("a key of 4 bytes", &|f, _| {
            let (key, to) = (f.slot(4), f.slot(16));
            take(f, MapRef::Open(0), key, Arg::Slot(to), 16);
        });
        tell("&slot1 has no room for 24 bytes", &|f, _| {
            let (key, value, dst) = (f.slot(8), f.slot(16), f.reg(Ty::Int));
            let value = Arg::Slot(value);
            f.push(Inst::Put { dst, map: MapRef::Open(0), key, value, size: 24, restart: true });
        });
        tell("v1 has no room for 8 bytes", &|f, context| {
            let (key, value) = (f.slot(8), f.load(context, 0, 8));
            take(f, MapRef::Open(0), key, Arg::Reg(value), 8);
        });
        tell("a division by 0", &|f, context| {
            let value = f.load(context, 0, 8);
            f.binary(BinOp::ModU, value, 0);
        });
    }
}

//! Random functions, run twice: by an interpreter of the IR, and as bytecode in rbpf. What they leave must be the same.
//!
//! This is the test of register allocation and emission; what `build` makes is tested in `tests/`.

use proptest::prelude::*;

use super::ir::{Arg, Base, BinOp, Cmp, Function, Helper, Inst, Operand, Terminator, Ty, VReg, verify};
use super::{emit, regalloc};

/// The registers that a function computes with; all of them are stored at its end.
const REGISTERS: usize = 14;

/// What one step of a function does; numbers select registers.
#[derive(Debug, Clone)]
enum Step {
    Const(usize, i64),
    Binary(BinOp, usize, usize, usize),
    BinaryImm(BinOp, usize, usize, i64),
    SignExtend(usize, usize, u8),
    Copy(usize, usize),
    /// With copies of registers, made in this order, which die at the call.
    Call(usize, [usize; 4], Vec<usize>),
    /// Through a stack slot.
    Memory(usize, usize, u8),
    /// Skips so many of the next steps.
    Skip(Cmp, usize, usize, usize),
    SkipImm(Cmp, usize, i64, usize),
    /// Repeats the next steps so often.
    Repeat(u8, usize),
}

fn helper(a: u64, b: u64, c: u64, d: u64, _: u64) -> u64 {
    let mixed = a.wrapping_mul(3) ^ b.wrapping_mul(5).rotate_left(7) ^ c.wrapping_mul(11).rotate_left(21);
    mixed.wrapping_add(d.wrapping_mul(13))
}

/// Makes a function of steps; its registers begin as the words of its context, and end there.
fn build(steps: &[Step]) -> Function {
    let mut f = Function::new("fuzz".into());
    let context = f.reg(Ty::Ptr);
    f.push(Inst::Context { dst: context });
    let slot = f.slot(8);
    let regs: Vec<VReg> = (0..REGISTERS).map(|index| f.load(context, 8 * index as u32, 8)).collect();
    // What is open: a block to begin after so many more steps, and a loop's counter.
    let mut open: Vec<(usize, super::ir::Block, Option<VReg>)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        close(&mut f, &mut open, index);
        let room = |steps: usize| open.last().map_or(usize::MAX, |(end, ..)| *end).min(index + 1 + steps);
        match step.clone() {
            Step::Const(dst, value) => f.push(Inst::Const { dst: regs[dst], value }),
            Step::Binary(op, dst, left, right) => {
                let (dst, left, mut right) = (regs[dst], regs[left], regs[right]);
                match op {
                    BinOp::Shl | BinOp::ShrU | BinOp::ShrS => right = f.binary(BinOp::And, right, 63),
                    BinOp::DivU | BinOp::ModU => right = f.binary(BinOp::Or, right, 1),
                    _ => {}
                }
                f.push(Inst::Binary { op, dst, left, right: Operand::Reg(right) });
            }
            Step::BinaryImm(op, dst, left, imm) => {
                let imm = match op {
                    BinOp::Shl | BinOp::ShrU | BinOp::ShrS => imm & 63,
                    BinOp::DivU | BinOp::ModU => imm | 1,
                    _ => imm,
                };
                f.push(Inst::Binary { op, dst: regs[dst], left: regs[left], right: Operand::Imm(imm) });
            }
            Step::SignExtend(dst, src, bits) => f.push(Inst::SignExtend { dst: regs[dst], src: regs[src], bits }),
            Step::Copy(dst, src) => f.push(Inst::Copy { dst: regs[dst], src: regs[src] }),
            Step::Call(dst, args, order) => {
                let mut args = args.map(|arg| Arg::Reg(regs[arg]));
                for index in order {
                    if let Arg::Reg(arg) = args[index] {
                        args[index] = Arg::Reg(f.copy(arg));
                    }
                }
                let args = args.to_vec();
                f.push(Inst::Call { dst: Some(regs[dst]), helper: Helper::KtimeGetNs, args });
            }
            Step::Memory(dst, src, size) => {
                f.store(slot, 0, 8, 0);
                f.store(slot, 0, size, regs[src]);
                f.push(Inst::Load { dst: regs[dst], base: Base::Slot(slot), offset: 0, size });
            }
            Step::Skip(cmp, left, right, steps) => {
                let end = f.block();
                f.leave_if(cmp, regs[left], regs[right], end);
                open.push((room(steps), end, None));
            }
            Step::SkipImm(cmp, left, imm, steps) => {
                let end = f.block();
                f.leave_if(cmp, regs[left], imm, end);
                open.push((room(steps), end, None));
            }
            Step::Repeat(times, steps) => {
                let (counter, body) = (f.constant(i64::from(times)), f.block());
                f.jump(body);
                f.begin(body);
                open.push((room(steps), body, Some(counter)));
            }
        }
    }
    close(&mut f, &mut open, usize::MAX);
    for (index, reg) in regs.iter().enumerate() {
        f.store(context, 8 * index as u32, 8, *reg);
    }
    f.end(Terminator::Exit);
    f.prune();
    f
}

fn close(f: &mut Function, open: &mut Vec<(usize, super::ir::Block, Option<VReg>)>, index: usize) {
    while let Some((_, block, counter)) = open.pop_if(|(end, ..)| *end <= index) {
        match counter {
            Some(counter) => {
                f.update(BinOp::Sub, counter, 1);
                let next = f.block();
                f.branch(Cmp::GtS, counter, 0, block, next);
                f.begin(next);
            }
            None => {
                f.jump(block);
                f.begin(block);
            }
        }
    }
}

fn compute(op: BinOp, a: u64, b: u64) -> u64 {
    match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::DivU => a / b,
        BinOp::ModU => a % b,
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl => a << b,
        BinOp::ShrU => a >> b,
        BinOp::ShrS => ((a as i64) >> b) as u64,
    }
}

fn holds(cmp: Cmp, a: u64, b: u64) -> bool {
    let (signed_a, signed_b) = (a as i64, b as i64);
    match cmp {
        Cmp::Eq => a == b,
        Cmp::Ne => a != b,
        Cmp::LtU => a < b,
        Cmp::LeU => a <= b,
        Cmp::GtU => a > b,
        Cmp::GeU => a >= b,
        Cmp::LtS => signed_a < signed_b,
        Cmp::LeS => signed_a <= signed_b,
        Cmp::GtS => signed_a > signed_b,
        Cmp::GeS => signed_a >= signed_b,
    }
}

fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size))
}

/// Runs the IR itself.
fn interpret(f: &Function, context: &mut [u64]) {
    let (mut regs, mut slot) = (vec![0_u64; f.types.len()], 0_u64);
    let mut block = f.order[0];
    loop {
        for inst in &f.data(block).insts {
            let operand = |operand: &Operand, regs: &[u64]| match operand {
                Operand::Reg(reg) => regs[reg.0 as usize],
                Operand::Imm(value) => *value as u64,
            };
            let value = match inst {
                Inst::Context { .. } => 0,
                Inst::Const { value, .. } => *value as u64,
                Inst::Copy { src, .. } => regs[src.0 as usize],
                Inst::Binary { op, left, right, .. } => compute(*op, regs[left.0 as usize], operand(right, &regs)),
                Inst::SignExtend { src, bits, .. } => {
                    let count = 64 - u32::from(*bits);
                    ((regs[src.0 as usize] << count) as i64 >> count) as u64
                }
                Inst::Load { base: Base::Slot(_), size, .. } => slot & mask(*size),
                Inst::Load { offset, .. } => context[*offset as usize / 8],
                Inst::Store { base: Base::Slot(_), size, value, .. } => {
                    slot = slot & !mask(*size) | operand(value, &regs) & mask(*size);
                    continue;
                }
                Inst::Store { offset, value, .. } => {
                    context[*offset as usize / 8] = operand(value, &regs);
                    continue;
                }
                Inst::Call { args, .. } => {
                    let arg = |index: usize| match args[index] {
                        Arg::Reg(reg) => regs[reg.0 as usize],
                        _ => unreachable!("only registers are passed"),
                    };
                    helper(arg(0), arg(1), arg(2), arg(3), 0)
                }
                Inst::MapValue { .. } => unreachable!("there are no maps"),
            };
            if let Some(dst) = inst.def() {
                regs[dst.0 as usize] = value;
            }
        }
        match f.data(block).end {
            Some(Terminator::Jump(target)) => block = target,
            Some(Terminator::Branch { cmp, left, right, then, otherwise }) => {
                let right = match right {
                    Operand::Reg(reg) => regs[reg.0 as usize],
                    Operand::Imm(value) => value as u64,
                };
                block = if holds(cmp, regs[left.0 as usize], right) { then } else { otherwise };
            }
            _ => return,
        }
    }
}

fn run(f: &Function, context: &mut [u64]) -> Result<(), String> {
    verify(f)?;
    let (code, _) = emit::emit(f, &regalloc::allocate(f)?)?;
    let code: Vec<u8> = code.iter().flat_map(|insn| insn.0.to_le_bytes()).collect();
    let mut vm = rbpf::EbpfVmRaw::new(Some(&code)).map_err(|error| format!("{error:?}"))?;
    vm.register_helper(Helper::KtimeGetNs as u32, helper).map_err(|error| format!("{error:?}"))?;
    let mut bytes: Vec<u8> = context.iter().flat_map(|word| word.to_le_bytes()).collect();
    vm.execute_program(&mut bytes).map_err(|error| format!("{error:?}"))?;
    for (word, bytes) in context.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(())
}

fn op() -> impl Strategy<Value = BinOp> {
    use BinOp::*;
    proptest::sample::select(vec![Add, Sub, Mul, DivU, ModU, And, Or, Xor, Shl, ShrU, ShrS])
}

fn cmp() -> impl Strategy<Value = Cmp> {
    use Cmp::*;
    proptest::sample::select(vec![Eq, Ne, LtU, LeU, GtU, GeU, LtS, LeS, GtS, GeS])
}

fn imm() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -3_i64..4, any::<i32>().prop_map(i64::from)]
}

fn step() -> impl Strategy<Value = Step> {
    let reg = || 0..REGISTERS;
    prop_oneof![
        (reg(), imm()).prop_map(|(dst, value)| Step::Const(dst, value)),
        (op(), reg(), reg(), reg()).prop_map(|(op, dst, left, right)| Step::Binary(op, dst, left, right)),
        (op(), reg(), reg(), imm()).prop_map(|(op, dst, left, imm)| Step::BinaryImm(op, dst, left, imm)),
        (reg(), reg(), 1_u8..64).prop_map(|(dst, src, bits)| Step::SignExtend(dst, src, bits)),
        (reg(), reg()).prop_map(|(dst, src)| Step::Copy(dst, src)),
        (reg(), [reg(), reg(), reg(), reg()], proptest::sample::subsequence(vec![0, 1, 2, 3], 0..=4).prop_shuffle())
            .prop_map(|(dst, args, order)| Step::Call(dst, args, order)),
        (reg(), reg(), proptest::sample::select(vec![1_u8, 2, 4, 8]))
            .prop_map(|(dst, src, size)| Step::Memory(dst, src, size)),
        (cmp(), reg(), reg(), 0_usize..8).prop_map(|(cmp, left, right, steps)| Step::Skip(cmp, left, right, steps)),
        (cmp(), reg(), imm(), 0_usize..8).prop_map(|(cmp, left, imm, steps)| Step::SkipImm(cmp, left, imm, steps)),
        (1_u8..4, 0_usize..10).prop_map(|(times, steps)| Step::Repeat(times, steps)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn bytecode_does_what_the_ir_says(
        steps in proptest::collection::vec(step(), 0..60),
        words in proptest::collection::vec(any::<u64>(), REGISTERS),
    ) {
        let function = build(&steps);
        let (mut expected, mut found) = (words.clone(), words);
        interpret(&function, &mut expected);
        if let Err(fault) = run(&function, &mut found) {
            prop_assert!(fault.contains("of stack are needed"), "{fault}\n{function}");
            return Ok(());
        }
        prop_assert_eq!(expected, found, "{}", function);
    }
}

//! Random functions, run twice: by an interpreter of the IR, and as bytecode in rbpf. What they leave must be the same.
//!
//! This is the test of register allocation and emission; what `build` makes is tested in `tests/`.

use proptest::prelude::*;

use std::cell::RefCell;
use std::collections::HashMap;

use super::ir::{Arg, Base, BinOp, Cmp, Function, Helper, Inst, Operand, Terminator, Ty, VReg, put, take, verify};
use super::{MapRef, emit, regalloc};

/// The registers that a function computes with; all of them are stored at its end.
const REGISTERS: usize = 14;

/// What one step of a function does; numbers select registers.
#[derive(Debug, Clone)]
enum Step {
    Const(usize, i64),
    Binary(BinOp, usize, usize, usize),
    BinaryImm(BinOp, usize, usize, i64),
    SignExtend(usize, usize, u8),
    Number(usize, usize),
    Bucket(usize, usize),
    Copy(usize, usize),
    /// With copies of registers, made in this order, which die at the call.
    Call(usize, [usize; 4], Vec<usize>),
    /// Through a stack slot.
    Memory(usize, usize, u8),
    /// Keeps a register, or takes what is kept, under a key that another register chooses.
    Put(usize, usize, usize, bool),
    Take(usize, usize, usize),
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

/// What puts and takes share, for the interpreter and for the helpers: values by key, two at most.
type Open = HashMap<u64, Box<[u64; KEPT]>>;

/// Words of a value: as many as are copied one by one, and one more, which a helper copies.
const KEPT: usize = 17;
const MOST_OPEN: usize = 2;

thread_local! {
    static OPEN: RefCell<Open> = RefCell::default();
}

fn words(address: u64) -> [u64; KEPT] {
    // SAFETY: programs pass the addresses of their slots here, whose sizes the IR's verifier has looked over.
    unsafe { std::ptr::read_unaligned(address as *const [u64; KEPT]) }
}

fn lookup(_: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    OPEN.with_borrow(|open| open.get(&words_key(key)).map_or(0, |value| value.as_ptr() as u64))
}

fn update(_: u64, key: u64, value: u64, flags: u64, _: u64) -> u64 {
    OPEN.with_borrow_mut(|open| {
        let key = words_key(key);
        match (flags, open.contains_key(&key)) {
            (1, true) => return -17_i64 as u64,
            // Before Linux 6.4 the answer's high half was anything.
            (2, false) => return -2_i32 as u32 as u64,
            (1, false) if open.len() >= MOST_OPEN => return -7_i64 as u64,
            _ => {}
        }
        open.insert(key, Box::new(words(value)));
        0
    })
}

fn delete(_: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    OPEN.with_borrow_mut(|open| if open.remove(&words_key(key)).is_some() { 0 } else { -2_i64 as u64 })
}

fn copy(to: u64, size: u64, from: u64, _: u64, _: u64) -> u64 {
    assert_eq!(size, 8 * KEPT as u64);
    // SAFETY: as in `words`.
    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, size as usize) };
    0
}

fn words_key(key: u64) -> u64 {
    // SAFETY: as in `words`.
    unsafe { std::ptr::read_unaligned(key as *const u64) }
}

/// Makes a function of steps; its registers begin as the words of its context, and end there.
fn build(steps: &[Step]) -> Function {
    let mut f = Function::new("fuzz".into());
    let context = f.reg(Ty::Ptr);
    f.push(Inst::Context { dst: context });
    let (slot, key) = (f.slot(8), f.slot(8));
    let value =
        steps.iter().any(|step| matches!(step, Step::Put(..) | Step::Take(..))).then(|| f.slot(8 * KEPT as u32));
    for word in value.iter().flat_map(|slot| (0..KEPT as u32).map(move |word| (*slot, word))) {
        f.store(word.0, 8 * word.1, 8, i64::from(word.1));
    }
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
            Step::Number(dst, src) => f.push(Inst::Number { dst: regs[dst], src: regs[src] }),
            Step::Bucket(dst, hash) => f.push(Inst::Bucket { dst: regs[dst], hash: regs[hash] }),
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
            Step::Put(dst, of, src, restart) => {
                let (Some(value), few) = (value, f.binary(BinOp::And, regs[of], 3)) else { continue };
                f.store(key, 0, 8, few);
                f.store(value, 0, 8, regs[src]);
                f.store(value, 8 * (KEPT as u32 - 1), 8, regs[src]);
                let (dst, map, size) = (regs[dst], MapRef::Open(0), 8 * KEPT as u32);
                f.push(Inst::Put { dst, map, key, value: Arg::Slot(value), size, restart });
            }
            Step::Take(dst, of, to) => {
                let (Some(value), few) = (value, f.binary(BinOp::And, regs[of], 3)) else { continue };
                f.store(key, 0, 8, few);
                let (dst, map, size) = (regs[dst], MapRef::Open(0), 8 * KEPT as u32);
                f.push(Inst::Take { dst, map, key, to: Arg::Slot(value), size });
                f.push(Inst::Load { dst: regs[to], base: Base::Slot(value), offset: size as i32 - 8, size: 8 });
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
    let mut regs = vec![0_u64; f.types.len()];
    let mut slots: Vec<Vec<u64>> = f.slots.iter().map(|size| vec![0; *size as usize / 8]).collect();
    let mut open: HashMap<u64, Vec<u64>> = HashMap::new();
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
                Inst::Copy { src, .. } | Inst::Number { src, .. } => regs[src.0 as usize],
                Inst::Binary { op, left, right, .. } => compute(*op, regs[left.0 as usize], operand(right, &regs)),
                Inst::SignExtend { src, bits, .. } => {
                    let count = 64 - u32::from(*bits);
                    ((regs[src.0 as usize] << count) as i64 >> count) as u64
                }
                Inst::Load { base: Base::Slot(slot), size, offset, .. } => {
                    slots[slot.0 as usize][*offset as usize / 8] & mask(*size)
                }
                Inst::Load { offset, .. } => context[*offset as usize / 8],
                Inst::Store { base: Base::Slot(slot), size, value, offset } => {
                    let word = &mut slots[slot.0 as usize][*offset as usize / 8];
                    *word = *word & !mask(*size) | operand(value, &regs) & mask(*size);
                    continue;
                }
                Inst::Put { key, value: Arg::Slot(value), restart, .. } => {
                    let (key, value) = (slots[key.0 as usize][0], slots[value.0 as usize].clone());
                    let result = match (open.contains_key(&key), restart) {
                        (true, false) => put::ALREADY_OPEN,
                        (false, _) if open.len() >= MOST_OPEN => put::NO_ROOM,
                        (true, true) => put::RESTARTED,
                        (false, _) => put::OPENED,
                    };
                    if matches!(result, put::OPENED | put::RESTARTED) {
                        open.insert(key, value);
                    }
                    result as u64
                }
                Inst::Take { key, to: Arg::Slot(to), .. } => match open.remove(&slots[key.0 as usize][0]) {
                    Some(value) => {
                        slots[to.0 as usize] = value;
                        take::TAKEN as u64
                    }
                    None => take::NOTHING as u64,
                },
                Inst::Put { .. } | Inst::Take { .. } => unreachable!("only slots are kept"),
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
                Inst::CompareExchange { .. } => unreachable!("the interpreter of bytecode has none"),
                Inst::Bucket { hash, .. } => regs[hash.0 as usize] >> (64 - super::BUCKET_BITS),
                Inst::Address { .. } => unreachable!("no address is taken"),
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
    let emit::Code { insns: mut code, relocations, .. } = emit::emit(f, &regalloc::allocate(f)?)?;
    for (at, _) in relocations {
        // The map is no descriptor here: the source register must not say that it is one.
        code[at] = super::Insn(code[at].0 & !0xf000);
    }
    OPEN.with_borrow_mut(HashMap::clear);
    let code: Vec<u8> = code.iter().flat_map(|insn| insn.0.to_le_bytes()).collect();
    let mut vm = rbpf::EbpfVmRaw::new(Some(&code)).map_err(|error| format!("{error:?}"))?;
    let helpers: [(Helper, rbpf::ebpf::Helper); 5] = [
        (Helper::KtimeGetNs, helper),
        (Helper::MapLookup, lookup),
        (Helper::MapUpdate, update),
        (Helper::MapDelete, delete),
        (Helper::ProbeReadKernel, copy),
    ];
    for (number, helper) in helpers {
        vm.register_helper(number as u32, helper).map_err(|error| format!("{error:?}"))?;
    }
    vm.register_allowed_memory(0x1000..u64::MAX);
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
        (reg(), reg()).prop_map(|(dst, src)| Step::Number(dst, src)),
        (reg(), reg()).prop_map(|(dst, hash)| Step::Bucket(dst, hash)),
        (reg(), reg(), 1_u8..64).prop_map(|(dst, src, bits)| Step::SignExtend(dst, src, bits)),
        (reg(), reg()).prop_map(|(dst, src)| Step::Copy(dst, src)),
        (reg(), [reg(), reg(), reg(), reg()], proptest::sample::subsequence(vec![0, 1, 2, 3], 0..=4).prop_shuffle())
            .prop_map(|(dst, args, order)| Step::Call(dst, args, order)),
        (reg(), reg(), proptest::sample::select(vec![1_u8, 2, 4, 8]))
            .prop_map(|(dst, src, size)| Step::Memory(dst, src, size)),
        (reg(), reg(), reg(), any::<bool>()).prop_map(|(dst, of, src, restart)| Step::Put(dst, of, src, restart)),
        (reg(), reg(), reg()).prop_map(|(dst, of, to)| Step::Take(dst, of, to)),
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

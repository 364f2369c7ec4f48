//! Bytecode. In: verified IR and its allocation. Out: instructions, and where maps are named in them.
//!
//! r0 and r5 are never allocated: they carry spilled operands and wide constants through one instruction.

mod keep;

use super::ir::{Arg, Base, BinOp, Block, Function, Inst, Operand, Terminator, VReg};
use super::regalloc::{Allocation, Location};
use super::{BUCKET_BITS, Insn, MapRef, insn};

const FIRST: u8 = 0;
const SECOND: u8 = 5;

/// Instructions, and the indexes of those that name maps, and of those that depend on a table's size.
pub(super) struct Code {
    pub insns: Vec<Insn>,
    pub relocations: Vec<(usize, MapRef)>,
    pub buckets: Vec<usize>,
}

/// The code of a function.
pub(super) fn emit(function: &Function, allocation: &Allocation) -> Result<Code, String> {
    let starts = vec![None; function.blocks.len()];
    let (relocations, buckets) = (Vec::new(), Vec::new());
    let mut emitter = Emitter { allocation, code: Vec::new(), relocations, buckets, jumps: Vec::new(), starts };
    for (index, &block) in function.order.iter().enumerate() {
        emitter.starts[block.0 as usize] = Some(emitter.code.len());
        for inst in &function.data(block).insts {
            emitter.inst(inst);
        }
        if let Some(end) = function.data(block).end {
            emitter.end(end, function.order.get(index + 1).copied());
        }
    }
    for (at, target) in std::mem::take(&mut emitter.jumps) {
        let start = emitter.starts[target.0 as usize].ok_or("a jump into nowhere")? as i64;
        let offset = i16::try_from(start - at as i64 - 1).map_err(|_| "a jump is too far")?;
        emitter.code[at] = emitter.code[at].with_offset(offset);
    }
    Ok(Code { insns: emitter.code, relocations: emitter.relocations, buckets: emitter.buckets })
}

struct Emitter<'a> {
    allocation: &'a Allocation,
    code: Vec<Insn>,
    relocations: Vec<(usize, MapRef)>,
    buckets: Vec<usize>,
    jumps: Vec<(usize, Block)>,
    starts: Vec<Option<usize>>,
}

/// The second operand of an instruction.
#[derive(Clone, Copy)]
enum Source {
    Reg(u8),
    Imm(i32),
}

impl Emitter<'_> {
    fn put(&mut self, opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) {
        self.code.push(Insn::new(opcode, dst, src, offset, imm));
    }

    fn location(&self, reg: VReg) -> Location {
        self.allocation.locations[reg.0 as usize]
    }

    fn alu(&mut self, bits: u8, dst: u8, source: Source) {
        match source {
            Source::Reg(src) => self.put(insn::ALU64 | insn::X | bits, dst, src, 0, 0),
            Source::Imm(imm) => self.put(insn::ALU64 | bits, dst, 0, 0, imm),
        }
    }

    fn mov(&mut self, dst: u8, src: u8) {
        if dst != src {
            self.alu(insn::MOV, dst, Source::Reg(src));
        }
    }

    fn wide(&mut self, dst: u8, src: u8, value: u64) {
        self.put(insn::LD_IMM64, dst, src, 0, value as i32);
        self.code.push(Insn((value >> 32) << 32));
    }

    fn constant(&mut self, dst: u8, value: i64) {
        match i32::try_from(value) {
            Ok(imm) => self.alu(insn::MOV, dst, Source::Imm(imm)),
            Err(_) => self.wide(dst, 0, value as u64),
        }
    }

    fn map(&mut self, dst: u8, map: MapRef, pseudo: u8) {
        self.relocations.push((self.code.len(), map));
        self.wide(dst, pseudo, 0);
    }

    fn fill(&mut self, dst: u8, offset: i16) {
        self.put(insn::LDX | insn::MEM | insn::size_bits(8), dst, insn::FRAME, offset, 0);
    }

    /// The register that holds a value: its own, or `spare` filled from the stack.
    fn read(&mut self, reg: VReg, spare: u8) -> u8 {
        match self.location(reg) {
            Location::Reg(reg) => reg,
            Location::Stack(offset) => {
                self.fill(spare, offset);
                spare
            }
        }
    }

    fn source(&mut self, operand: Operand, spare: u8) -> Source {
        match operand {
            Operand::Reg(reg) => Source::Reg(self.read(reg, spare)),
            Operand::Imm(value) => match i32::try_from(value) {
                Ok(imm) => Source::Imm(imm),
                Err(_) => {
                    self.constant(spare, value);
                    Source::Reg(spare)
                }
            },
        }
    }

    /// The register in which a result is made: its own, or r0 until [`Self::spill`].
    fn target(&self, dst: VReg) -> u8 {
        match self.location(dst) {
            Location::Reg(reg) => reg,
            Location::Stack(_) => FIRST,
        }
    }

    fn spill(&mut self, dst: VReg, from: u8) {
        match self.location(dst) {
            Location::Reg(reg) => self.mov(reg, from),
            Location::Stack(offset) => {
                self.put(insn::STX | insn::MEM | insn::size_bits(8), insn::FRAME, from, offset, 0)
            }
        }
    }

    fn address(&mut self, base: Base, offset: i32, spare: u8) -> (u8, i16) {
        match base {
            Base::Reg(reg) => (self.read(reg, spare), offset as i16),
            Base::Slot(slot) => (insn::FRAME, self.allocation.slots[slot.0 as usize] + offset as i16),
        }
    }

    fn inst(&mut self, inst: &Inst) {
        match inst {
            Inst::Context { dst } => self.spill(*dst, 1),
            Inst::Const { dst, value } => {
                let target = self.target(*dst);
                self.constant(target, *value);
                self.spill(*dst, target);
            }
            Inst::Copy { dst, src } => {
                let target = self.target(*dst);
                let from = self.read(*src, target);
                self.spill(*dst, from);
            }
            Inst::Binary { op, dst, left, right } => self.binary(*op, *dst, *left, *right),
            Inst::SignExtend { dst, src, bits } => {
                let target = self.target(*dst);
                let from = self.read(*src, target);
                self.mov(target, from);
                let count = Source::Imm(64 - i32::from(*bits));
                self.alu(insn::alu_bits(BinOp::Shl), target, count);
                self.alu(insn::alu_bits(BinOp::ShrS), target, count);
                self.spill(*dst, target);
            }
            // The verifier forgets that a register points when its sign is changed: twice, and only that has happened.
            Inst::Number { dst, src } => {
                let target = self.target(*dst);
                let from = self.read(*src, target);
                self.mov(target, from);
                self.put(insn::ALU64 | insn::NEG, target, 0, 0, 0);
                self.put(insn::ALU64 | insn::NEG, target, 0, 0, 0);
                self.spill(*dst, target);
            }
            Inst::Load { dst, base, offset, size } => {
                let target = self.target(*dst);
                let (base, offset) = self.address(*base, *offset, FIRST);
                self.put(insn::LDX | insn::MEM | insn::size_bits(*size), target, base, offset, 0);
                self.spill(*dst, target);
            }
            Inst::Store { base, offset, size, value } => {
                let (base, offset) = self.address(*base, *offset, FIRST);
                match self.source(*value, SECOND) {
                    Source::Reg(src) => self.put(insn::STX | insn::MEM | insn::size_bits(*size), base, src, offset, 0),
                    Source::Imm(imm) => self.put(insn::ST | insn::MEM | insn::size_bits(*size), base, 0, offset, imm),
                }
            }
            Inst::MapValue { dst, map } => {
                let target = self.target(*dst);
                self.map(target, *map, insn::PSEUDO_MAP_VALUE);
                self.spill(*dst, target);
            }
            Inst::CompareExchange { dst, base, offset, expected, new } => {
                self.arguments(&[Arg::Reg(*base), Arg::Reg(*new), Arg::Reg(*expected)]);
                self.mov(FIRST, 3);
                let opcode = insn::STX | insn::ATOMIC | insn::size_bits(8);
                self.put(opcode, 1, 2, *offset as i16, insn::COMPARE_EXCHANGE);
                self.spill(*dst, FIRST);
            }
            Inst::Address { dst, slot } => {
                let (target, offset) = (self.target(*dst), self.allocation.slots[slot.0 as usize]);
                self.mov(target, insn::FRAME);
                self.alu(insn::alu_bits(BinOp::Add), target, Source::Imm(i32::from(offset)));
                self.spill(*dst, target);
            }
            Inst::Bucket { dst, hash } => {
                let target = self.target(*dst);
                let from = self.read(*hash, target);
                self.mov(target, from);
                self.buckets.push(self.code.len());
                self.alu(insn::alu_bits(BinOp::ShrU), target, Source::Imm(64 - BUCKET_BITS as i32));
                self.spill(*dst, target);
            }
            Inst::Put { dst, map, key, value, restart, .. } => {
                self.put_value(*map, *key, *value, *restart);
                self.spill(*dst, FIRST);
            }
            Inst::Take { dst, map, key, to, size } => {
                self.take_value(*map, *key, *to, *size);
                self.spill(*dst, FIRST);
            }
            Inst::Call { dst, helper, args } => {
                self.arguments(args);
                self.put(insn::JMP | insn::CALL, 0, 0, 0, *helper as i32);
                if let Some(dst) = dst {
                    self.spill(*dst, 0);
                }
            }
        }
    }

    fn binary(&mut self, op: BinOp, dst: VReg, left: VReg, right: Operand) {
        let right = self.source(right, SECOND);
        let mut target = self.target(dst);
        // The left operand must not overwrite the right one on its way into the result's register.
        if matches!(right, Source::Reg(reg) if reg == target) && self.location(left) != Location::Reg(target) {
            target = FIRST;
        }
        let from = self.read(left, target);
        self.mov(target, from);
        self.alu(insn::alu_bits(op), target, right);
        self.spill(dst, target);
    }

    /// Moves arguments to r1–r4 all at once: registers first, in an order that overwrites none too early.
    fn arguments(&mut self, args: &[Arg]) {
        let mut moves: Vec<(u8, u8)> = Vec::new();
        for (to, arg) in (1..).zip(args) {
            if let Arg::Reg(reg) = arg
                && let Location::Reg(from) = self.location(*reg)
                && from != to
            {
                moves.push((to, from));
            }
        }
        while !moves.is_empty() {
            let ready = moves.iter().position(|(to, _)| moves.iter().all(|(_, from)| from != to));
            match ready {
                Some(index) => {
                    let (to, from) = moves.swap_remove(index);
                    self.mov(to, from);
                }
                None => {
                    // Only cycles are left: a register steps aside.
                    let aside = moves[0].1;
                    self.mov(SECOND, aside);
                    moves.iter_mut().filter(|(_, from)| *from == aside).for_each(|(_, from)| *from = SECOND);
                }
            }
        }
        for (to, arg) in (1..).zip(args) {
            match *arg {
                Arg::Reg(reg) => {
                    if let Location::Stack(offset) = self.location(reg) {
                        self.fill(to, offset);
                    }
                }
                Arg::Imm(value) => self.constant(to, value),
                Arg::Slot(slot) => {
                    self.mov(to, insn::FRAME);
                    let offset = self.allocation.slots[slot.0 as usize];
                    self.alu(insn::alu_bits(BinOp::Add), to, Source::Imm(i32::from(offset)));
                }
                Arg::Map(map) => self.map(to, map, insn::PSEUDO_MAP_FD),
            }
        }
    }

    fn end(&mut self, end: Terminator, next: Option<Block>) {
        match end {
            Terminator::Exit => {
                self.constant(0, 0);
                self.put(insn::JMP | insn::EXIT, 0, 0, 0, 0);
            }
            Terminator::Jump(target) => self.jump(target, next),
            Terminator::Branch { cmp, left, right, then, otherwise } => {
                if then == otherwise {
                    return self.jump(then, next);
                }
                let (cmp, taken, fallen) =
                    if next == Some(then) { (cmp.negated(), otherwise, then) } else { (cmp, then, otherwise) };
                let right = match right {
                    // rbpf widens such an immediate with zeros, the kernel with its sign.
                    Operand::Imm(value @ ..0) => {
                        self.constant(SECOND, value);
                        Source::Reg(SECOND)
                    }
                    _ => self.source(right, SECOND),
                };
                let left = self.read(left, FIRST);
                self.jumps.push((self.code.len(), taken));
                let bits = insn::JMP | insn::jump_bits(cmp);
                match right {
                    Source::Reg(src) => self.put(bits | insn::X, left, src, 0, 0),
                    Source::Imm(imm) => self.put(bits, left, 0, 0, imm),
                }
                self.jump(fallen, next);
            }
        }
    }

    fn jump(&mut self, target: Block, next: Option<Block>) {
        if next != Some(target) {
            self.jumps.push((self.code.len(), target));
            self.put(insn::JMP | insn::JA, 0, 0, 0, 0);
        }
    }
}

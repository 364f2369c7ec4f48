//! Keeping a value and taking it back. In: [`Inst::Put`] and [`Inst::Take`]. Out: helper calls, and what came of them in r0.
//!
//! No program can lock a hash's entry, so each step is one that the kernel makes whole, and its answer says who did it:
//!
//! * an insertion fails where there is an entry, a replacement where there is none, and a removal too: of two CPUs at one
//!   key one is told that it was the one. So puts = takes + replaced + left, whatever happens at once;
//! * a removed entry may be given to another key at once, while it is still being copied. So what was copied counts only
//!   if the key's entry is still the same afterwards, by its first word.
//!
//! [`Inst::Put`]: super::super::ir::Inst::Put
//! [`Inst::Take`]: super::super::ir::Inst::Take

use super::super::ir::{Arg, BinOp, Cmp, Helper, Slot, put, take};
use super::super::{MapRef, insn};
use super::{Emitter, FIRST, Location, SECOND, Source};

/// `BPF_NOEXIST` and `BPF_EXIST`.
const INSERT: i32 = 1;
const REPLACE: i32 = 2;
const ENOENT: i32 = -2;
const EEXIST: i32 = -17;
/// What is longer is copied by a helper.
const MOST_WORDS: u32 = 16;

/// An update's 0 is the result as it is.
const _: () = assert!(put::OPENED == 0);

impl Emitter<'_> {
    pub(super) fn put_value(&mut self, map: MapRef, key: Slot, value: Arg, restart: bool) {
        let mut done = vec![];
        let mut no_room = vec![];
        self.update(map, key, value, INSERT);
        done.push(self.skip(insn::jump_bits(Cmp::Eq), Source::Imm(0)));
        no_room.push(self.skip_unless(EEXIST));
        if restart {
            self.update(map, key, value, REPLACE);
            let replaced = self.skip(insn::jump_bits(Cmp::Eq), Source::Imm(0));
            // It was taken just now.
            no_room.push(self.skip_unless(ENOENT));
            self.update(map, key, value, INSERT);
            done.push(self.skip(insn::jump_bits(Cmp::Eq), Source::Imm(0)));
            no_room.push(self.skip_always());
            self.land([replaced]);
            self.constant(FIRST, put::RESTARTED.into());
        } else {
            self.constant(FIRST, put::ALREADY_OPEN.into());
        }
        done.push(self.skip_always());
        self.land(no_room);
        self.constant(FIRST, put::NO_ROOM.into());
        self.land(done);
    }

    pub(super) fn take_value(&mut self, map: MapRef, key: Slot, to: Arg, size: u32) {
        self.call_keyed(Helper::MapLookup, map, key);
        let nothing = self.skip(insn::jump_bits(Cmp::Eq), Source::Imm(0));
        self.copy_value(to, size);
        self.call_keyed(Helper::MapLookup, map, key);
        let mut raced = vec![self.skip(insn::jump_bits(Cmp::Eq), Source::Imm(0))];
        self.load(2, FIRST, 0);
        self.load_from(3, to);
        raced.push(self.skip_if(insn::jump_bits(Cmp::Ne), 2, Source::Reg(3)));
        self.call_keyed(Helper::MapDelete, map, key);
        self.sign_extend_result();
        raced.push(self.skip(insn::jump_bits(Cmp::Ne), Source::Imm(0)));
        self.constant(FIRST, take::TAKEN.into());
        let mut done = vec![self.skip_always()];
        self.land([nothing]);
        self.constant(FIRST, take::NOTHING.into());
        done.push(self.skip_always());
        self.land(raced);
        self.constant(FIRST, take::RACED.into());
        self.land(done);
    }

    fn update(&mut self, map: MapRef, key: Slot, value: Arg, flags: i32) {
        self.pointer(3, value);
        self.constant(4, flags.into());
        self.call_keyed(Helper::MapUpdate, map, key);
        self.sign_extend_result();
    }

    fn call_keyed(&mut self, helper: Helper, map: MapRef, key: Slot) {
        self.map(1, map, insn::PSEUDO_MAP_FD);
        self.pointer(2, Arg::Slot(key));
        self.call_helper(helper);
    }

    /// Before Linux 6.4 the helpers of maps answered with an `int`, whose high half in r0 is anything.
    fn sign_extend_result(&mut self) {
        self.alu(insn::alu_bits(BinOp::Shl), FIRST, Source::Imm(32));
        self.alu(insn::alu_bits(BinOp::ShrS), FIRST, Source::Imm(32));
    }

    /// Copies what r0 points to.
    fn copy_value(&mut self, to: Arg, size: u32) {
        if size > 8 * MOST_WORDS {
            self.mov(3, FIRST);
            self.constant(2, size.into());
            self.pointer(1, to);
            return self.call_helper(Helper::ProbeReadKernel);
        }
        let (base, offset) = self.base(to, SECOND);
        for at in (0..size as i16).step_by(8) {
            self.load(1, FIRST, at);
            self.put(insn::STX | insn::MEM | insn::size_bits(8), base, 1, offset + at, 0);
        }
    }

    fn call_helper(&mut self, helper: Helper) {
        self.put(insn::JMP | insn::CALL, 0, 0, 0, helper as i32);
    }

    fn load(&mut self, dst: u8, base: u8, offset: i16) {
        self.put(insn::LDX | insn::MEM | insn::size_bits(8), dst, base, offset, 0);
    }

    fn load_from(&mut self, dst: u8, from: Arg) {
        let (base, offset) = self.base(from, SECOND);
        self.load(dst, base, offset);
    }

    /// The register and offset that address a buffer.
    fn base(&mut self, arg: Arg, spare: u8) -> (u8, i16) {
        match arg {
            Arg::Slot(slot) => (insn::FRAME, self.allocation.slots[slot.0 as usize]),
            Arg::Reg(reg) => (self.read(reg, spare), 0),
            // The IR's verifier lets neither through.
            Arg::Imm(_) | Arg::Map(_) => (insn::FRAME, 0),
        }
    }

    fn pointer(&mut self, to: u8, arg: Arg) {
        match arg {
            Arg::Reg(reg) if matches!(self.location(reg), Location::Stack(_)) => {
                self.read(reg, to);
            }
            _ => {
                let (base, offset) = self.base(arg, to);
                self.mov(to, base);
                if offset != 0 {
                    self.alu(insn::alu_bits(BinOp::Add), to, Source::Imm(offset.into()));
                }
            }
        }
    }

    /// A jump that [`Self::land`] leads on, taken where r0 compares so.
    fn skip(&mut self, bits: u8, with: Source) -> usize {
        self.skip_if(bits, FIRST, with)
    }

    fn skip_if(&mut self, bits: u8, left: u8, with: Source) -> usize {
        let opcode = insn::JMP | bits;
        match with {
            Source::Reg(src) => self.put_jump(opcode | insn::X, left, src, 0),
            Source::Imm(imm) => self.put_jump(opcode, left, 0, imm),
        }
    }

    /// The same, where r0 is another number; negative ones go through a register, as elsewhere.
    fn skip_unless(&mut self, errno: i32) -> usize {
        self.constant(SECOND, errno.into());
        self.skip(insn::jump_bits(Cmp::Ne), Source::Reg(SECOND))
    }

    fn skip_always(&mut self) -> usize {
        self.put_jump(insn::JMP | insn::JA, 0, 0, 0)
    }

    fn put_jump(&mut self, opcode: u8, dst: u8, src: u8, imm: i32) -> usize {
        self.put(opcode, dst, src, 0, imm);
        self.code.len() - 1
    }

    /// Leads jumps to here.
    fn land(&mut self, jumps: impl IntoIterator<Item = usize>) {
        for at in jumps {
            let distance = self.code.len() - at - 1;
            self.code[at] = self.code[at].with_offset(distance as i16);
        }
    }
}

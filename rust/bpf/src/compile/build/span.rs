//! The two sides of a span. In: a [`Side`]. Out: an entry that a start keeps, or the one that an end takes, and the values
//! in it.
//!
//! An entry is made, and copied to, on the stack if it is a few numbers, else at the end of scratch, whose beginning is
//! the record's.

use spile_core::error::Error;
use spile_core::layout::FieldType;
use spile_core::spec::Expr;

use super::super::ir::{Arg, Base, BinOp, Block, Cmp, Helper, Inst, Operand, Slot, Ty, VReg, put, take};
use super::super::schema::NO_START;
use super::super::span::{Kept, Key, NULLS, Side, SpanLayout, TIME};
use super::super::{Ledger, MapRef, ProgramKind, REGISTERS, SCRATCH_SIZE};
use super::int::Int;
use super::{Build, Role};

/// The most bytes of an entry on the stack.
const MOST_ON_STACK: u32 = 96;
/// How often an end looks again if it was disturbed.
const TRIES: i64 = 2;

/// Where an entry is made, or copied to.
#[derive(Clone, Copy)]
enum Entry {
    Stack(Slot),
    Scratch(VReg),
}

/// What an end has taken.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    layout: &'a SpanLayout,
    entry: Entry,
}

/// A string or a comm within an entry.
pub(super) struct KeptBytes {
    pub base: Base,
    pub offset: u32,
    pub ty: FieldType,
}

impl Entry {
    fn base(self) -> Base {
        match self {
            Self::Stack(slot) => slot.into(),
            Self::Scratch(address) => address.into(),
        }
    }

    fn arg(self) -> Arg {
        match self {
            Self::Stack(slot) => Arg::Slot(slot),
            Self::Scratch(address) => address.into(),
        }
    }
}

impl<'a> Build<'a> {
    /// A start: keeps the time and what `at_start()` wants.
    pub(super) fn begin_span(&mut self, side: &Side<'a>, restart: bool) -> Result<(), Error> {
        let layout = side.layout;
        let time = self.f.call(Helper::KtimeGetNs, &[], Ty::Int);
        self.time = Some(time);
        let exprs: Vec<&Expr> = layout.kept.iter().map(|kept| &kept.expr).collect();
        self.share_among(exprs.iter().copied());
        self.walk_stacks(&exprs);
        let key = self.span_key(side)?;
        let entry = self.entry(layout);
        self.f.store(entry.base(), TIME, 8, time);
        self.keep(layout, entry)?;
        let (map, value) = (MapRef::Open(side.number), entry.arg());
        let result = self.f.reg(Ty::Int);
        self.f.push(Inst::Put { dst: result, map, key, value, size: layout.size(), restart });
        let (no_room, already) = (self.fate(Ledger::OpenFull), self.fate(Ledger::AlreadyOpen));
        self.f.leave_if(Cmp::Eq, result, put::NO_ROOM, no_room);
        if restart {
            let opened = self.f.block();
            self.f.leave_if(Cmp::Ne, result, put::RESTARTED, opened);
            self.count(Ledger::Overwritten);
            self.f.jump(opened);
            self.f.begin(opened);
        } else {
            self.f.leave_if(Cmp::Eq, result, put::ALREADY_OPEN, already);
        }
        self.count(Ledger::Opened);
        Ok(())
    }

    /// An end: takes the entry, or has none. What follows is the span's event.
    pub(super) fn end_span(&mut self, side: &Side<'a>) -> Result<(), Error> {
        let time = self.f.call(Helper::KtimeGetNs, &[], Ty::Int);
        self.time = Some(time);
        let key = self.span_key(side)?;
        let layout = side.layout;
        let entry = self.entry(layout);
        let unmatched = self.fate(Ledger::Unmatched);
        let (tries, result) = (self.f.constant(TRIES), self.f.reg(Ty::Int));
        let (again, disturbed, taken) = (self.f.block(), self.f.block(), self.f.block());
        self.f.jump(again);
        self.f.begin(again);
        let (map, to) = (MapRef::Open(side.number), entry.arg());
        self.f.push(Inst::Take { dst: result, map, key, to, size: layout.size() });
        self.f.leave_if(Cmp::Eq, result, take::TAKEN, taken);
        self.f.branch(Cmp::Eq, result, take::NOTHING, unmatched, disturbed);
        self.f.begin(disturbed);
        self.f.update(BinOp::Sub, tries, 1);
        self.f.branch(Cmp::GtS, tries, 0, again, unmatched);
        self.f.begin(taken);
        self.count(Ledger::Matched);
        self.taken = Some(Taken { layout, entry });
        self.elapsed = Some(self.since(entry, time));
        Ok(())
    }

    /// Nanoseconds since the start. One that came on another CPU while this end was on its way was no time ago.
    fn since(&mut self, entry: Entry, time: VReg) -> VReg {
        let start = self.f.load(entry.base(), TIME, 8);
        let elapsed = self.f.binary(BinOp::Sub, time, start);
        let (early, done) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::LtS, elapsed, 0, early, done);
        self.f.begin(early);
        self.f.push(Inst::Const { dst: elapsed, value: 0 });
        self.f.jump(done);
        self.f.begin(done);
        elapsed
    }

    fn span_key(&mut self, side: &Side<'_>) -> Result<Slot, Error> {
        let fault = self.fate(Ledger::Faulted);
        let key = match side.key {
            Key::Of(key) => self.int(key, fault)?.operand,
            Key::Call => Operand::Reg(self.call()?),
        };
        let slot = self.f.slot(8);
        self.f.store(slot, 0, 8, key);
        Ok(slot)
    }

    /// The number of this call: its place on the stack; and, for functions that end by jumping to another share their place
    /// with that, its end's id, in bits that all addresses of the kernel's have alike.
    fn call(&mut self) -> Result<VReg, Error> {
        let place = match (self.request.kind, REGISTERS) {
            // A trampoline hands the same context to the programs before the function and to those behind it.
            (ProgramKind::Fentry | ProgramKind::Fexit, _) => self.f.number(self.context),
            (ProgramKind::Kprobe, Some(registers)) => self.f.load(self.context, registers.stack_pointer, 8),
            (ProgramKind::Kretprobe, Some(registers)) => {
                let after = self.f.load(self.context, registers.stack_pointer, 8);
                self.f.binary(BinOp::Sub, after, i64::from(registers.popped_by_return))
            }
            _ => return self.refuse("only a function is called"),
        };
        let before = i64::from(matches!(self.request.role, Role::Start { .. }));
        let id = match self.id {
            Operand::Imm(id) => self.f.constant(id - before),
            Operand::Reg(id) => self.f.binary(BinOp::Sub, id, before),
        };
        self.f.update(BinOp::Shl, id, 48);
        Ok(self.f.binary(BinOp::Xor, place, id))
    }

    /// A word of the context as it was at the start.
    pub(super) fn kept_word(&mut self, offset: u32, size: u8) -> Option<VReg> {
        let Taken { layout, entry } = self.taken?;
        let at = layout.words().find(|(word, _)| *word == offset)?.1;
        Some(self.f.load(entry.base(), at, size))
    }

    fn entry(&mut self, layout: &SpanLayout) -> Entry {
        if layout.size() <= MOST_ON_STACK && !layout.has_strings() {
            return Entry::Stack(self.f.slot(layout.size()));
        }
        let scratch = self.scratch();
        self.kept_size = layout.size();
        Entry::Scratch(self.displaced(scratch, SCRATCH_SIZE - layout.size()))
    }

    /// Writes the values of a start.
    fn keep(&mut self, layout: &SpanLayout, entry: Entry) -> Result<(), Error> {
        let nulls = layout.has_nulls().then(|| self.f.constant(0));
        for kept in &layout.kept {
            let (fault, done) = (self.f.block(), self.f.block());
            self.keep_one(kept, entry, fault)?;
            self.f.jump(done);
            self.f.begin(fault);
            if let (Some(nulls), Some(bit)) = (nulls, kept.null) {
                self.f.update(BinOp::Or, nulls, 1_i64 << bit);
            }
            self.f.store(entry.base(), kept.offset, 8, 0);
            self.f.jump(done);
            self.f.begin(done);
        }
        if let Some(nulls) = nulls {
            self.f.store(entry.base(), NULLS, 8, nulls);
        }
        for (offset, at) in layout.words() {
            let word = self.f.load(self.context, offset, 8);
            self.f.store(entry.base(), at, 8, word);
        }
        Ok(())
    }

    fn keep_one(&mut self, kept: &Kept, entry: Entry, fault: Block) -> Result<(), Error> {
        match (kept.ty, entry) {
            (FieldType::Name, _) => {
                self.f.store(entry.base(), kept.offset, 8, self.id);
            }
            (FieldType::Int { .. }, _) => {
                let value = self.int(&kept.expr, fault)?;
                self.f.store(entry.base(), kept.offset, 8, value.operand);
            }
            (FieldType::Stack { .. }, _) => {
                let Some(hash) = self.walked(&kept.expr) else {
                    return self.refuse("this stack was not walked");
                };
                self.f.store(entry.base(), kept.offset, 8, hash);
            }
            (FieldType::FixedString { size }, Entry::Scratch(base)) => {
                self.fixed_string(base, &kept.expr, kept.offset, size.into(), fault)?;
            }
            (FieldType::String { limit }, Entry::Scratch(base)) => {
                let address = self.address_of_string(&kept.expr, fault)?;
                let to = self.displaced(base, kept.offset + 8);
                let (_, word) = self.read_measured(&kept.expr, address, to, limit, fault);
                self.f.store(base, kept.offset, 8, word);
            }
            _ => return self.refuse("a span can't keep this"),
        }
        Ok(())
    }

    /// A number from the start.
    pub(super) fn kept_int(&mut self, value: &Expr, fault: Block) -> Result<Int, Error> {
        let (entry, kept) = self.find_kept(value, fault)?;
        let word = self.f.load(entry.base(), kept.offset, 8);
        Ok(match kept.ty {
            FieldType::Int { size, signed } => Int::reg(word, size, signed),
            FieldType::Name => Int::reg(word, 2, false),
            _ => return self.refuse("a stack or a string is no number"),
        })
    }

    /// A stack's hash from the start; 0 where there was none.
    pub(super) fn kept_hash(&mut self, value: &Expr, fault: Block) -> Result<VReg, Error> {
        let (entry, kept) = self.find_kept(value, fault)?;
        Ok(self.f.load(entry.base(), kept.offset, 8))
    }

    /// A string's or a comm's bytes from the start.
    pub(super) fn kept_bytes(&mut self, value: &Expr, fault: Block) -> Result<KeptBytes, Error> {
        let (entry, kept) = self.find_kept(value, fault)?;
        let base = entry.base();
        Ok(match kept.ty {
            ty @ FieldType::FixedString { .. } => KeptBytes { base, offset: kept.offset, ty },
            ty @ FieldType::String { .. } => KeptBytes { base, offset: kept.offset + 8, ty },
            _ => return self.refuse("this was no string at the start"),
        })
    }

    /// Copies a comm or a character array from the start into the record.
    pub(super) fn copy_kept_array(&mut self, base: VReg, at: u32, value: &Expr, fault: Block) -> Result<(), Error> {
        let KeptBytes { base: from, offset, ty } = self.kept_bytes(value, fault)?;
        let FieldType::FixedString { size } = ty else {
            return self.refuse("this was no array at the start");
        };
        for word in (0..u32::from(size)).step_by(8) {
            let bytes = self.f.load(from, offset + word, 8);
            // The entry's room is whole words, the record's is what the array has.
            let mut part = 0;
            while part < 8 && word + part < u32::from(size) {
                let left = u32::from(size) - word - part;
                let width = [8, 4, 2, 1].into_iter().find(|width| part.is_multiple_of(*width) && *width <= left);
                let width = width.unwrap_or(1);
                let shifted = if part == 0 { bytes } else { self.f.binary(BinOp::ShrU, bytes, i64::from(8 * part)) };
                self.f.store(base, at + word + part, width as u8, shifted);
                part += width;
            }
        }
        Ok(())
    }

    /// The address of a string from the start, its length with the NUL, and the word that its slot is made of.
    pub(super) fn kept_string(&mut self, value: &Expr, fault: Block) -> Result<(VReg, VReg, VReg), Error> {
        let KeptBytes { base, offset, .. } = self.kept_bytes(value, fault)?;
        let Base::Reg(address) = base else {
            return self.refuse("a string on the stack");
        };
        let word = self.f.load(base, offset - 8, 8);
        let high = self.f.binary(BinOp::ShrU, word, 16);
        let bytes = self.f.binary(BinOp::And, high, 0x7fff);
        let length = self.f.binary(BinOp::Add, bytes, 1);
        Ok((self.displaced(address, offset), length, word))
    }

    /// Where a value from the start is; leaves for `fault` where it is missing.
    fn find_kept(&mut self, value: &Expr, fault: Block) -> Result<(Entry, &'a Kept), Error> {
        let found = self.taken.and_then(|taken| Some((taken.entry, taken.layout.find(value)?)));
        let Some((entry, kept)) = found else {
            return self.refuse(NO_START);
        };
        if let Some(bit) = kept.null {
            let nulls = self.f.load(entry.base(), NULLS, 8);
            let missing = self.f.binary(BinOp::And, nulls, 1_i64 << bit);
            self.f.leave_if(Cmp::Ne, missing, Operand::Imm(0), fault);
        }
        Ok((entry, kept))
    }
}

//! Tables. In: [`TableLayout`]s. Out: each hit in their rows; or, where there is no room, sent for those to the ring.
//!
//! A program is never run within itself on one CPU, and its tables are its own: plain loads and stores are exact.

use spile_core::aggregate::row::{Extra, Kept};
use spile_core::error::Error;
use spile_core::layout::FieldType;
use spile_core::spec::Expr;
use spile_core::words::{Words, words};

use super::super::ir::{Base, BinOp, Block, Cmp, Helper, Inst, Operand, Slot, Ty, VReg};
use super::super::table::{FACTOR, FAULTED, HEADER, PROBES, TableLayout, USED};
use super::super::{Ledger, MapRef};
use super::Build;
use super::int::Int;

/// What became of a hit in its tables, as bits: none if all of them keep it.
const SENT: i64 = 1;
const LOST: i64 = 2;

/// One table, while a hit is put into it.
struct Table<'a> {
    layout: &'a TableLayout,
    /// The words of the key.
    key: Slot,
    /// Which of its parts is written to.
    index: VReg,
    bits: VReg,
}

impl<'a> Build<'a> {
    /// Puts the hit into its tables. Gives what became of it, if there are any.
    pub(super) fn tally(&mut self, tables: &'a [TableLayout]) -> Result<Option<VReg>, Error> {
        let Some(longest) = tables.iter().map(|table| table.row.kept_at.max(1)).max() else { return Ok(None) };
        let key = self.f.slot(8 * longest as u32);
        let bits = self.f.constant(0);
        // One generation for all tables of this run.
        let index = self.f.call(Helper::SmpProcessorId, &[], Ty::Int);
        let generation = self.f.reg(Ty::Ptr);
        self.f.push(Inst::MapValue { dst: generation, map: MapRef::Generation });
        let first = self.f.load(generation, 0, 4);
        self.f.update(BinOp::Add, index, first);
        for layout in tables {
            self.tally_in(&Table { layout, key, index, bits })?;
        }
        Ok(Some(bits))
    }

    /// The fate of a hit of which nothing is wanted but its tables.
    pub(super) fn tabled(&mut self, bits: VReg) {
        let (elsewhere, full) = (self.f.block(), self.fate(Ledger::RingFull));
        self.f.leave_if(Cmp::Ne, bits, 0, elsewhere);
        self.count(Ledger::Tabled);
        self.f.jump(self.out);
        self.f.begin(elsewhere);
        let lost = self.f.binary(BinOp::And, bits, LOST);
        self.f.leave_if(Cmp::Ne, lost, 0, full);
        self.count(Ledger::Delivered);
    }

    /// Remarks that a hit is missing from a table; its event is sent all the same.
    pub(super) fn remark_lost(&mut self, bits: VReg) {
        let done = self.f.block();
        let lost = self.f.binary(BinOp::And, bits, LOST);
        self.f.leave_if(Cmp::Eq, lost, 0, done);
        self.count(Ledger::TableLost);
        self.f.jump(done);
        self.f.begin(done);
    }

    fn tally_in(&mut self, table: &Table<'a>) -> Result<(), Error> {
        let (fault, no_room, done) = (self.f.block(), self.f.block(), self.f.block());
        let value = self.write_key(table, fault)?;
        let part = self.part(table, no_room);
        let row = self.find(table, part, no_room);
        let sum = self.sum(table, row, value, no_room);
        self.add(table, row, value, sum);
        self.f.jump(done);
        self.f.begin(no_room);
        self.spill(table, done)?;
        self.f.begin(fault);
        let part = self.part(table, done);
        self.add_one(part, FAULTED);
        self.f.jump(done);
        self.f.begin(done);
        Ok(())
    }

    /// Sends what found no room.
    fn spill(&mut self, table: &Table<'a>, done: Block) -> Result<(), Error> {
        let TableLayout { spill, columns, .. } = table.layout;
        let full = self.f.block();
        let id = match self.id {
            Operand::Imm(_) => Operand::Imm(spill.schema.id.into()),
            // Of programs that serve many places, the ids of each place's spills are as far behind its event's.
            Operand::Reg(id) => {
                let behind = i64::from(spill.schema.id) - i64::from(self.request.options.event_id);
                Operand::Reg(self.f.binary(BinOp::Add, id, behind))
            }
        };
        // Not all ways come by here: what is computed here is known here alone.
        let time = self.time;
        self.send_fixed(spill, columns, id, full)?;
        self.time = time;
        self.f.update(BinOp::Or, table.bits, SENT);
        self.f.jump(done);
        self.f.begin(full);
        self.f.update(BinOp::Or, table.bits, LOST);
        self.f.jump(done);
        Ok(())
    }

    /// The part of this CPU that is written to.
    fn part(&mut self, table: &Table<'_>, missing: Block) -> VReg {
        let part = self.lookup(MapRef::Table(table.layout.aggregate as u16), table.index);
        self.f.leave_if(Cmp::Eq, part, 0, missing);
        part
    }

    fn add_one(&mut self, base: VReg, offset: u32) {
        let old = self.f.load(base, offset, 8);
        let new = self.f.binary(BinOp::Add, old, 1);
        self.f.store(base, offset, 8, new);
    }

    /// The row of the key, a new one if it has none; leaves for `no_room` where that can't be.
    fn find(&mut self, table: &Table<'_>, part: VReg, no_room: Block) -> VReg {
        let layout = &table.layout.row;
        let slot = self.f.binary(BinOp::Add, part, i64::from(HEADER));
        let (each, empty, next, found) = (self.f.block(), self.f.block(), self.f.block(), self.f.block());
        let tag = match self.hash_of_key(table.key, layout.kept_at) {
            None => self.f.constant(1),
            Some(hash) => {
                let first = self.f.reg(Ty::Int);
                self.f.push(Inst::Bucket { dst: first, hash });
                self.f.update(BinOp::Mul, first, i64::from(table.layout.slot_size()));
                self.f.update(BinOp::Add, slot, first);
                self.f.binary(BinOp::Or, hash, 1)
            }
        };
        let left = self.f.constant(if table.layout.is_cell() { 1 } else { i64::from(PROBES) });
        self.f.jump(each);
        self.f.begin(each);
        let (same, other) = (self.f.block(), self.f.block());
        let there = self.f.load(slot, 0, 8);
        self.f.branch(Cmp::Eq, there, tag, same, other);
        self.f.begin(same);
        for word in 0..layout.kept_at as u32 {
            let (wanted, has) = (self.f.load(table.key, 8 * word, 8), self.f.load(slot, 8 + 8 * word, 8));
            self.f.leave_if(Cmp::Ne, has, wanted, next);
        }
        self.f.jump(found);
        self.f.begin(other);
        self.f.branch(Cmp::Eq, there, 0, empty, next);
        self.f.begin(next);
        self.f.update(BinOp::Add, slot, i64::from(table.layout.slot_size()));
        self.f.update(BinOp::Sub, left, 1);
        self.f.branch(Cmp::GtS, left, 0, each, no_room);
        self.f.begin(empty);
        for word in 0..layout.kept_at as u32 {
            let wanted = self.f.load(table.key, 8 * word, 8);
            self.f.store(slot, 8 + 8 * word, 8, wanted);
        }
        self.f.store(slot, 0, 8, tag);
        self.add_one(part, USED);
        self.f.jump(found);
        self.f.begin(found);
        slot
    }

    /// A quick hash whose first bits are the best ones; none of no words.
    fn hash_of_key(&mut self, key: Slot, words: usize) -> Option<VReg> {
        let factor = self.f.constant(FACTOR.cast_signed());
        let mut hash = None;
        for word in 0..words as u32 {
            let word = self.f.load(key, 8 * word, 8);
            if let Some(before) = hash {
                let high = self.f.binary(BinOp::ShrU, before, 32);
                self.f.update(BinOp::Xor, word, before);
                self.f.update(BinOp::Xor, word, high);
            }
            self.f.update(BinOp::Mul, word, factor);
            hash = Some(word);
        }
        hash
    }

    /// The row's sum with the value, if it keeps one; leaves for `no_room` where that has more than 64 bits. One of values that
    /// are narrower would need 2^32 hits between two drains.
    fn sum(&mut self, table: &Table<'_>, row: VReg, value: Option<Int>, no_room: Block) -> Option<VReg> {
        let layout = &table.layout.row;
        let word = layout.place(Kept::Sum)?;
        let value = self.in_reg(value?);
        let old = self.f.load(row, 8 + 8 * word as u32, 8);
        let new = self.f.binary(BinOp::Add, old, value);
        match layout.value {
            Some(FieldType::Int { size: 8, signed: false }) => self.f.leave_if(Cmp::LtU, new, old, no_room),
            Some(FieldType::Int { size: 8, signed: true }) => {
                // Both have a sign that the sum has not.
                self.f.update(BinOp::Xor, old, new);
                let other = self.f.binary(BinOp::Xor, value, new);
                self.f.update(BinOp::And, other, old);
                self.f.leave_if(Cmp::LtS, other, 0, no_room);
            }
            _ => {}
        }
        Some(new)
    }

    /// Adds the hit to what is kept; its sum is known.
    fn add(&mut self, table: &Table<'_>, row: VReg, value: Option<Int>, sum: Option<VReg>) {
        let layout = &table.layout.row;
        let signed = matches!(layout.value, Some(FieldType::Int { signed: true, .. }));
        for (word, kept) in (layout.kept_at..).zip(layout.function.kept()) {
            let at = 8 + 8 * word as u32;
            match (kept, value) {
                (Kept::Sum, _) => {
                    if let Some(sum) = sum {
                        self.f.store(row, at, 8, sum);
                    }
                }
                (Kept::Least | Kept::Greatest, Some(value)) => {
                    let reg = self.in_reg(value);
                    let mut flips = if signed { i64::MIN } else { 0 };
                    if *kept == Kept::Least {
                        flips = !flips;
                    }
                    let flips = self.f.constant(flips);
                    let ordered = self.f.binary(BinOp::Xor, reg, flips);
                    self.raise(row, at, ordered);
                }
                (Kept::Rank, Some(value)) => {
                    let rank = self.in_reg(value);
                    self.raise(row, at, rank);
                }
                _ => self.add_one(row, at),
            }
        }
    }

    fn raise(&mut self, row: VReg, at: u32, value: VReg) {
        let done = self.f.block();
        let old = self.f.load(row, at, 8);
        self.f.leave_if(Cmp::GeU, old, value, done);
        self.f.store(row, at, 8, value);
        self.f.jump(done);
        self.f.begin(done);
    }

    /// Writes the words under which the hit is kept; gives what is added there.
    fn write_key(&mut self, table: &Table<'a>, fault: Block) -> Result<Option<Int>, Error> {
        let (layout, key) = (table.layout, table.key);
        for ((_, expr), words) in layout.key().zip(&layout.row.key) {
            self.write_words(expr, words, key, fault)?;
        }
        let (Some(expr), Some(ty)) = (layout.value(), layout.row.value) else { return Ok(None) };
        let extra_at = 8 * layout.row.extra_at as u32;
        Ok(match (layout.row.function.extra(), &layout.row.item) {
            (Some(Extra::Item), Some(words)) => {
                self.write_words(expr, words, key, fault)?;
                None
            }
            (Some(Extra::Bin(bin)), _) => {
                let value = self.int(expr, fault)?;
                let bin = self.bin(bin, value);
                self.f.store(key, extra_at, 8, bin);
                None
            }
            (Some(Extra::Register), _) => {
                let hash = self.hash_of(expr, ty, fault)?;
                let (register, rank) = self.register(hash);
                self.f.store(key, extra_at, 8, register);
                Some(Int::reg(rank, 8, false))
            }
            _ => Some(self.int(expr, fault)?),
        })
    }

    /// The hash of a value's words.
    fn hash_of(&mut self, expr: &Expr, ty: FieldType, fault: Block) -> Result<VReg, Error> {
        let count = words(ty).unwrap_or(1);
        let slot = self.f.slot(8 * count as u32);
        self.write_words(expr, &Words { ty, at: 0, count }, slot, fault)?;
        let hash = self.f.constant(0);
        for word in 0..count as u32 {
            let word = self.f.load(slot, 8 * word, 8);
            self.mixed(hash, word);
        }
        Ok(hash)
    }

    fn write_words(&mut self, expr: &Expr, words: &Words, to: Slot, fault: Block) -> Result<(), Error> {
        let at = 8 * words.at as u32;
        match words.ty {
            FieldType::Name if !matches!(expr, Expr::AtStart { .. }) => self.f.store(to, at, 8, self.id),
            FieldType::Int { size, signed } => {
                let value = self.int(expr, fault)?;
                let value = match value.operand {
                    // Words are widened with zeros.
                    Operand::Reg(reg) if signed && size < 8 => Operand::Reg(self.zero_extend(reg, 8 * u32::from(size))),
                    operand => operand,
                };
                self.f.store(to, at, 8, value);
            }
            FieldType::Name => {
                let value = self.int(expr, fault)?;
                self.f.store(to, at, 8, value.operand);
            }
            FieldType::Stack { .. } => {
                let hash = match expr {
                    Expr::AtStart { value } => Some(self.kept_hash(value, fault)?),
                    _ => self.walked(expr),
                };
                let Some(hash) = hash else {
                    return self.refuse("this stack was not walked");
                };
                self.f.leave_if(Cmp::Eq, hash, 0, fault);
                self.f.store(to, at, 8, hash);
            }
            FieldType::FixedString { size } => {
                // What the last word has behind the string's room is part of the key.
                self.f.store(Base::Slot(to), at + 8 * (words.count as u32 - 1), 8, 0);
                let base = self.f.reg(Ty::Ptr);
                self.f.push(Inst::Address { dst: base, slot: to });
                self.fixed_string(base, expr, at, size.into(), fault)?;
            }
            FieldType::String { .. } | FieldType::Bytes { .. } => return self.refuse("a string of no fixed size"),
        }
        Ok(())
    }
}

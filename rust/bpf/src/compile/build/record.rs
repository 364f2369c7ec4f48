//! The record. In: the columns and their layout. Out: one record in the ring, or a count of why there is none.
//!
//! A record of fixed size is written in place, in the ring: in the mapped one, where there is one; one with strings is written
//! to scratch, and what was used is copied. A column whose read faults is 0 with its bit set in the null mask.

use spile_core::error::Error;
use spile_core::layout::{ALIGNED_ID, ALIGNED_TIME, COMPACT_SHIFT, EventLayout, FieldType};
use spile_core::spec::{Context, Expr};

use super::super::access::{Access, Leaf};
use super::super::ir::{Arg, BinOp, Block, Cmp, Helper, Inst, Operand, Ty, VReg};
use super::super::{Ledger, SCRATCH_SIZE};
use super::Build;
use super::ring::NO_WAKEUP;

/// The bit of the null mask in the word that begins with the id.
const NULLS_SHIFT: usize = 16;

/// A record being written.
struct Record<'a> {
    layout: &'a EventLayout,
    columns: &'a [Expr],
    base: VReg,
    /// What its offsets are less by than the layout's.
    shift: u32,
    nulls: VReg,
    /// The next byte of the tail, and the most that it can be so far.
    tail: Option<(VReg, u32)>,
    /// Columns' ways out: fault, column, and where they join again.
    faults: Vec<(Block, usize, Block)>,
}

impl Record<'_> {
    fn slot(&self, column: usize) -> (u32, u32) {
        let slot = self.layout.slots[column];
        (slot.offset.unwrap_or(0) - self.shift, slot.size)
    }
}

impl<'a> Build<'a> {
    /// Writes and sends the event's record.
    pub(super) fn record(&mut self, layout: &'a EventLayout, columns: &'a [Expr]) -> Result<(), Error> {
        // Rounding each string up makes the tail a little longer than the layout's.
        if layout.max_size + 8 * layout.slots.len() as u32 > SCRATCH_SIZE - self.kept_size {
            return self.refuse("one event would take too much memory: lower limit= or capture fewer strings");
        }
        let full = self.fate(Ledger::RingFull);
        if layout.is_fixed() {
            self.send_fixed(layout, columns, self.id, full)?;
        } else {
            let base = self.scratch();
            let full = self.fate(Ledger::RingFull);
            let tail = self.f.constant(i64::from(layout.fixed_size));
            let most = self.fill(layout, columns, self.id, base, Some((tail, layout.fixed_size)))?;
            let ring = self.ring(full);
            let size = self.f.copy(tail);
            self.f.leave_if(Cmp::GtU, size, i64::from(most), full);
            let args = [Arg::Reg(base), Arg::Reg(size), NO_WAKEUP];
            let error = self.ring_call(ring, Helper::RingOutput, &args, Ty::Int);
            self.f.leave_if(Cmp::Ne, error, 0, full);
        }
        self.count(Ledger::Delivered);
        Ok(())
    }

    /// Writes a record of fixed size in place, in the ring, or leaves for `full`: in the mapped ring, where there is one.
    pub(super) fn send_fixed(
        &mut self,
        layout: &'a EventLayout,
        columns: &'a [Expr],
        id: Operand,
        full: Block,
    ) -> Result<(), Error> {
        if let Some(rings) = self.mapped_rings(layout) {
            let time = self.time_of_event(columns);
            let area = self.area(rings, time, full);
            let base = self.reserve(area, layout.compact_size());
            let nulls = self.nulls(id);
            self.columns(Record {
                layout,
                columns,
                base,
                shift: COMPACT_SHIFT,
                nulls,
                tail: None,
                faults: Vec::new(),
            })?;
            self.commit(base, time, nulls);
            return Ok(());
        }
        let ring = self.ring(full);
        let args = [Arg::Imm(i64::from(layout.fixed_size)), Arg::Imm(0)];
        let base = self.ring_call(ring, Helper::RingReserve, &args, Ty::Ptr);
        self.f.leave_if(Cmp::Eq, base, 0, full);
        self.fill(layout, columns, id, base, None)?;
        self.f.call_for_effect(Helper::RingSubmit, &[Arg::Reg(base), NO_WAKEUP]);
        Ok(())
    }

    /// Writes the header and every column; gives the most bytes that the record can have.
    fn fill(
        &mut self,
        layout: &'a EventLayout,
        columns: &'a [Expr],
        id: Operand,
        base: VReg,
        tail: Option<(VReg, u32)>,
    ) -> Result<u32, Error> {
        let time = self.time_of_event(columns);
        self.f.store(base, ALIGNED_TIME, 8, time);
        let nulls = self.nulls(id);
        self.columns(Record { layout, columns, base, shift: 0, nulls, tail, faults: Vec::new() })
    }

    /// A span's time is that of its end, which its elapsed counts up to.
    fn time_of_event(&mut self, columns: &[Expr]) -> VReg {
        let time = self.time.unwrap_or_else(|| self.f.call(Helper::KtimeGetNs, &[], Ty::Int));
        if columns.contains(&Expr::Context { name: Context::Timestamp }) {
            self.time = Some(time);
        }
        time
    }

    /// The id, and above it the null mask, in which nothing is set so far.
    fn nulls(&mut self, id: Operand) -> VReg {
        match id {
            Operand::Imm(id) => self.f.constant(id),
            Operand::Reg(id) => self.f.copy(id),
        }
    }

    /// Writes every column; gives the most bytes that the record can have.
    fn columns(&mut self, mut record: Record<'a>) -> Result<u32, Error> {
        let Record { layout, columns, .. } = record;
        let before = self.place.clone();
        for column in 0..columns.len() {
            self.place = format!("{before}.capture.{}", layout.schema.fields[column].name);
            let (fault, done) = (self.f.block(), self.f.block());
            self.column(&mut record, column, fault)?;
            self.f.jump(done);
            record.faults.push((fault, column, done));
            self.f.begin(done);
        }
        self.place = before;
        let ready = self.f.block();
        // A compact record's id is what commits it.
        if record.shift == 0 {
            self.f.store(record.base, ALIGNED_ID, 4, record.nulls);
        }
        self.f.jump(ready);
        for (fault, column, done) in std::mem::take(&mut record.faults) {
            self.f.begin(fault);
            self.null(&record, column);
            self.f.jump(done);
        }
        self.f.begin(ready);
        Ok(record.tail.map_or(0, |(_, most)| most))
    }

    fn null(&mut self, record: &Record<'_>, column: usize) {
        self.f.update(BinOp::Or, record.nulls, 1_i64 << (NULLS_SHIFT + column));
        let (offset, size) = record.slot(column);
        match size {
            1 | 2 | 4 | 8 => self.f.store(record.base, offset, size as u8, 0),
            _ => self.f.store(record.base, offset, 1, 0),
        }
    }

    fn column(&mut self, record: &mut Record<'_>, column: usize, fault: Block) -> Result<(), Error> {
        let expr = &record.columns[column];
        let (offset, size) = record.slot(column);
        match record.layout.schema.fields[column].ty {
            FieldType::Name if !matches!(expr, Expr::AtStart { .. }) => {
                self.f.store(record.base, offset, 2, self.id);
                Ok(())
            }
            FieldType::Int { .. } | FieldType::Name => {
                let value = self.int(expr, fault)?;
                self.f.store(record.base, offset, size as u8, value.operand);
                Ok(())
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
                self.f.store(record.base, offset, 8, hash);
                Ok(())
            }
            FieldType::FixedString { .. } => self.fixed_string(record.base, expr, offset, size, fault),
            FieldType::String { limit } => self.string(record, expr, offset, limit, fault),
            FieldType::Bytes { limit } => self.bytes(record, expr, offset, limit, fault),
        }
    }

    /// A comm or a character array, at `base + at`.
    pub(super) fn fixed_string(
        &mut self,
        base: VReg,
        expr: &Expr,
        at: u32,
        size: u32,
        fault: Block,
    ) -> Result<(), Error> {
        let path = match expr {
            Expr::Context { name: Context::Comm } => {
                let to = self.displaced(base, at);
                self.f.call_for_effect(Helper::CurrentComm, &[Arg::Reg(to), Arg::Imm(i64::from(size))]);
                return Ok(());
            }
            Expr::AtStart { value } => return self.copy_kept_array(base, at, value, fault),
            Expr::Field { path } => path,
            _ => return self.refuse("this is no string"),
        };
        let address = match self.request.fields.resolve(path)? {
            Access::CtxString { offset, .. } => {
                self.copy_words(base, at, offset, size);
                return Ok(());
            }
            Access::Read { ctx_offset, derefs, offset, leaf: Leaf::String { .. } } => {
                let pointer = self.follow(ctx_offset, &derefs, fault)?;
                self.displaced(pointer, offset)
            }
            _ => return self.refuse("this field is no string"),
        };
        let to = self.displaced(base, at);
        let args = [Arg::Reg(to), Arg::Imm(i64::from(size)), Arg::Reg(address)];
        let error = self.f.call(Helper::ProbeReadKernel, &args, Ty::Int);
        self.f.leave_if(Cmp::Ne, error, 0, fault);
        Ok(())
    }

    fn copy_words(&mut self, base: VReg, to: u32, from: u32, size: u32) {
        let mut at = 0;
        while at < size {
            let fits =
                |word: &u32| at + word <= size && (from + at).is_multiple_of(*word) && (to + at).is_multiple_of(*word);
            let word = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
            let value = self.f.load(self.context, from + at, word as u8);
            self.f.store(base, to + at, word as u8, value);
            at += word;
        }
    }

    /// A string into the tail.
    fn string(&mut self, record: &mut Record<'_>, expr: &Expr, at: u32, limit: u32, fault: Block) -> Result<(), Error> {
        if let Expr::AtStart { value } = expr {
            return self.copy_kept_string(record, value, at, limit, fault);
        }
        let address = self.address_of_string(expr, fault)?;
        let (to, tail, most) = self.tail(record, fault)?;
        let (length, slot) = self.read_measured(expr, address, to, limit, fault);
        self.f.update(BinOp::Or, slot, tail);
        self.f.store(record.base, at, 4, slot);
        self.advance(record, tail, length, most + limit);
        Ok(())
    }

    fn copy_kept_string(
        &mut self,
        record: &mut Record<'_>,
        value: &Expr,
        at: u32,
        limit: u32,
        fault: Block,
    ) -> Result<(), Error> {
        let (from, length, slot) = self.kept_string(value, fault)?;
        let (to, tail, most) = self.tail(record, fault)?;
        let size = self.f.copy(length);
        self.f.leave_if(Cmp::GtU, size, i64::from(limit), fault);
        let error = self.f.call(Helper::ProbeReadKernel, &[Arg::Reg(to), Arg::Reg(size), Arg::Reg(from)], Ty::Int);
        self.f.leave_if(Cmp::Ne, error, 0, fault);
        self.f.update(BinOp::Or, slot, tail);
        self.f.store(record.base, at, 4, slot);
        self.advance(record, tail, length, most + limit);
        Ok(())
    }

    /// Where a string is that is to be read.
    pub(super) fn address_of_string(&mut self, expr: &Expr, fault: Block) -> Result<VReg, Error> {
        match expr {
            Expr::String { pointer, .. } => {
                let pointer = self.int(pointer, fault)?;
                Ok(self.in_reg(pointer))
            }
            Expr::Field { path } => self.string_address(path, fault),
            _ => self.refuse("this is no string"),
        }
    }

    /// Reads a string; gives its length with the NUL, and its slot's word but for the offset.
    pub(super) fn read_measured(
        &mut self,
        expr: &Expr,
        address: VReg,
        to: VReg,
        limit: u32,
        fault: Block,
    ) -> (VReg, VReg) {
        let is_kernel = !matches!(expr, Expr::String { .. });
        let read = |build: &mut Self, to: Arg, size: u32, address: VReg| {
            if is_kernel {
                let args = [to, Arg::Imm(i64::from(size)), Arg::Reg(address)];
                build.f.call(Helper::ProbeReadKernelStr, &args, Ty::Int)
            } else {
                build.read_string(to, size, address)
            }
        };
        let length = read(self, Arg::Reg(to), limit, address);
        self.f.leave_if(Cmp::LeS, length, 0, fault);
        self.f.leave_if(Cmp::GtS, length, i64::from(limit), fault);
        let bytes = self.f.binary(BinOp::Sub, length, 1);
        let slot = self.f.binary(BinOp::Shl, bytes, 16);
        let (full, whole) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::Eq, length, i64::from(limit), full, whole);
        self.f.begin(full);
        // A string that fills its room was cut if the byte where its NUL is now isn't one.
        let last = self.displaced(address, limit - 1);
        let more = read(self, Arg::Slot(self.buffer), 2, last);
        self.f.leave_if(Cmp::LeS, more, 1, whole);
        self.f.update(BinOp::Or, slot, 1_i64 << 31);
        self.f.jump(whole);
        self.f.begin(whole);
        (length, slot)
    }

    fn string_address(&mut self, path: &[spile_core::spec::PathStep], fault: Block) -> Result<VReg, Error> {
        match self.request.fields.resolve(path)? {
            Access::CtxDynString { offset } => Ok(self.data_location(offset).0),
            Access::CtxString { offset, .. } => Ok(self.displaced(self.context, offset)),
            Access::Read { ctx_offset, derefs, offset, leaf: Leaf::String { .. } } => {
                let pointer = self.follow(ctx_offset, &derefs, fault)?;
                Ok(self.displaced(pointer, offset))
            }
            _ => self.refuse("this field is no string"),
        }
    }

    /// An array into the tail.
    fn bytes(&mut self, record: &mut Record<'_>, expr: &Expr, at: u32, limit: u32, fault: Block) -> Result<(), Error> {
        let Expr::Field { path } = expr else {
            return self.refuse("this is no array");
        };
        let (address, length) = match self.request.fields.resolve(path)? {
            Access::CtxDynBytes { offset } => self.data_location(offset),
            Access::CtxArray { offset, elem_size, count, .. } => {
                let length = self.f.constant(i64::from(u32::from(elem_size) * count));
                (self.displaced(self.context, offset), length)
            }
            _ => return self.refuse("this field is no array"),
        };
        let slot = self.f.constant(0);
        let kept = self.f.copy(length);
        let (cut, whole) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::GtU, kept, i64::from(limit), cut, whole);
        self.f.begin(cut);
        self.f.push(Inst::Const { dst: kept, value: i64::from(limit) });
        self.f.push(Inst::Const { dst: slot, value: 1 << 31 });
        self.f.jump(whole);
        self.f.begin(whole);
        let (to, tail, most) = self.tail(record, fault)?;
        let size = self.f.copy(kept);
        self.f.leave_if(Cmp::GtU, size, i64::from(limit), fault);
        let args = [Arg::Reg(to), Arg::Reg(size), Arg::Reg(address)];
        let error = self.f.call(Helper::ProbeReadKernel, &args, Ty::Int);
        self.f.leave_if(Cmp::Ne, error, 0, fault);
        let high = self.f.binary(BinOp::Shl, kept, 16);
        self.f.update(BinOp::Or, slot, high);
        self.f.update(BinOp::Or, slot, tail);
        self.f.store(record.base, at, 4, slot);
        self.advance(record, tail, kept, most + limit);
        Ok(())
    }

    /// The address behind what the tail holds so far, whose bound is told anew, for the kernel's verifier forgets what
    /// it knew of a number that was kept on the stack.
    fn tail(&mut self, record: &Record<'_>, fault: Block) -> Result<(VReg, VReg, u32), Error> {
        let Some((tail, most)) = record.tail else {
            return self.refuse("a string in a record of fixed size");
        };
        let offset = self.f.copy(tail);
        self.f.leave_if(Cmp::GtU, offset, i64::from(most), fault);
        let to = self.f.binary(BinOp::Add, record.base, Operand::Reg(offset));
        Ok((to, tail, most))
    }

    fn advance(&mut self, record: &mut Record<'_>, tail: VReg, length: VReg, most: u32) {
        let up = self.f.binary(BinOp::Add, length, 7);
        self.f.update(BinOp::And, up, -8);
        self.f.update(BinOp::Add, tail, up);
        record.tail = Some((tail, most.next_multiple_of(8)));
    }
}

//! The mapped ring of this CPU. In: a time, and the size of a record. Out: where the record is to be written, or a count of why
//! there is no room.
//!
//! The protocol is [`super::super::mapped`]'s.

use spile_core::layout::{ALIGNED_ID, COMPACT_BASE, COMPACT_BASE_SIZE, COMPACT_BASE_TIME, COMPACT_SHIFT, EventLayout};

use super::super::ir::{BinOp, Block, Cmp, Helper, Inst, Operand, Ty, VReg};
use super::super::mapped::{BASE_INTERVAL, DATA, HEAD, LAST_BASE, MOST, MappedRings, TAIL, TRIES};
use super::super::{MapRef, ProgramKind};
use super::Build;

/// This CPU's ring.
#[derive(Clone, Copy)]
pub(super) struct Area {
    rings: MappedRings,
    base: VReg,
    full: Block,
}

impl Build<'_> {
    /// The mapped rings, where this event travels by them. A trampoline's program may be scheduled away between two
    /// instructions, for longer than what low bits of a time tell.
    pub(super) fn mapped_rings(&self, layout: &EventLayout) -> Option<MappedRings> {
        let is_preempted = matches!(self.request.kind, ProgramKind::Fentry | ProgramKind::Fexit);
        let fits = layout.is_fixed() && layout.compact_size() <= MOST;
        self.request.options.mapped.filter(|_| fits && !is_preempted)
    }

    /// Finds this CPU's ring, and sees to it that a record of that time can be told.
    pub(super) fn area(&mut self, rings: MappedRings, time: VReg, full: Block) -> Area {
        let base = self.f.reg(Ty::Ptr);
        let cpu = self.f.call(Helper::SmpProcessorId, &[], Ty::Int);
        let cpu = self.f.binary(BinOp::And, cpu, i64::from(rings.cpus - 1));
        self.f.update(BinOp::Mul, cpu, i64::from(rings.stride()));
        self.f.push(Inst::MapValue { dst: base, map: MapRef::Mapped });
        self.f.update(BinOp::Add, base, Operand::Reg(cpu));
        let area = Area { rings, base, full };
        let last = self.f.load(base, LAST_BASE, 8);
        let since = self.f.binary(BinOp::Sub, time, Operand::Reg(last));
        let (old, ready) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::GtU, since, BASE_INTERVAL as i64, old, ready);
        self.f.begin(old);
        self.whole_time(area, time);
        self.f.jump(ready);
        self.f.begin(ready);
        area
    }

    /// The whole time's record is committed before anybody is told that there is one.
    fn whole_time(&mut self, area: Area, time: VReg) {
        let record = self.reserve(area, COMPACT_BASE_SIZE);
        self.f.store(record, COMPACT_BASE_TIME, 8, time);
        let id = self.f.constant(i64::from(COMPACT_BASE));
        self.commit(record, time, id);
        self.f.store(area.base, LAST_BASE, 8, time);
    }

    /// Reserves a record. Where interrupts come between each try, there is no room for it either.
    pub(super) fn reserve(&mut self, area: Area, size: u32) -> VReg {
        let (again, interrupted, reserved) = (self.f.block(), self.f.block(), self.f.block());
        let tries = self.f.constant(TRIES);
        self.f.jump(again);
        self.f.begin(again);
        let head = self.f.load(area.base, HEAD, 8);
        let tail = self.f.load(area.base, TAIL, 8);
        let used = self.f.binary(BinOp::Sub, head, Operand::Reg(tail));
        self.f.leave_if(Cmp::GtU, used, i64::from(area.rings.bytes - size), area.full);
        let next = self.f.binary(BinOp::Add, head, i64::from(size));
        let seen = self.f.reg(Ty::Int);
        let exchange =
            Inst::CompareExchange { dst: seen, base: area.base, offset: HEAD as i32, expected: head, new: next };
        self.f.push(exchange);
        self.f.branch(Cmp::Eq, seen, head, reserved, interrupted);
        self.f.begin(interrupted);
        self.f.update(BinOp::Sub, tries, 1);
        self.f.branch(Cmp::Eq, tries, 0, area.full, again);
        self.f.begin(reserved);
        let place = self.f.binary(BinOp::And, head, i64::from(area.rings.bytes - 1));
        let data = self.f.binary(BinOp::Add, area.base, i64::from(DATA));
        self.f.binary(BinOp::Add, data, Operand::Reg(place))
    }

    /// Writes the first word, of the low bits of the time, and of the id and the null mask.
    pub(super) fn commit(&mut self, record: VReg, time: VReg, id_and_nulls: VReg) {
        let low = self.f.binary(BinOp::Shl, time, 32);
        self.f.update(BinOp::ShrU, low, 32);
        let high = self.f.binary(BinOp::Shl, id_and_nulls, i64::from(8 * (ALIGNED_ID - COMPACT_SHIFT)));
        self.f.update(BinOp::Or, low, Operand::Reg(high));
        self.f.store(record, 0, 8, low);
    }
}

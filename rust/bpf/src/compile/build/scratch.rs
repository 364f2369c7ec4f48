//! Scratch memory of this CPU at this nesting level, so that an interrupt's probe doesn't overwrite its victim's.

use super::super::ir::{Arg, BinOp, Block, Cmp, Helper, Ty, VReg};
use super::super::{Ledger, MapRef, SCRATCH_LEVELS};
use super::Build;

pub(super) struct Scratch {
    pub base: VReg,
    counter: VReg,
    level: VReg,
    /// Where a run ends that holds no scratch.
    exit: Block,
}

impl Build<'_> {
    /// Takes this level's scratch unless it is taken. From here on a run ends by giving it back.
    pub(super) fn scratch(&mut self) -> VReg {
        if let Some(scratch) = &self.scratch {
            return scratch.base;
        }
        let zero = self.f.constant(0);
        let counter = self.lookup(MapRef::Scratch, zero);
        self.f.leave_if(Cmp::Eq, counter, 0, self.out);
        let level = self.f.load(counter, 0, 4);
        let too_deep = self.fate(Ledger::ReEntered);
        self.f.leave_if(Cmp::GeU, level, i64::from(SCRATCH_LEVELS), too_deep);
        let next = self.f.binary(BinOp::Add, level, 1);
        self.f.store(counter, 0, 4, next);
        let exit = self.out;
        self.out = self.f.block();
        self.fates.clear();
        // The level's entry follows the counter's; both numbers are the same.
        self.f.store(self.buffer, 0, 4, next);
        let args = [Arg::Map(MapRef::Scratch), Arg::Slot(self.buffer)];
        let base = self.f.call(Helper::MapLookup, &args, Ty::Ptr);
        self.scratch = Some(Scratch { base, counter, level, exit });
        self.f.leave_if(Cmp::Eq, base, 0, self.out);
        base
    }

    /// Writes the way out that gives scratch back.
    pub(super) fn release_scratch(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            self.f.begin(self.out);
            self.f.store(scratch.counter, 0, 4, scratch.level);
            self.f.jump(scratch.exit);
            self.out = scratch.exit;
        }
    }
}

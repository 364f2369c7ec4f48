//! What is left out for the budget. In: the word in shared memory that says so now. Out: the way of what isn't left out.

use super::super::ir::{Cmp, Inst, Ty, VReg};
use super::super::{Ledger, MapRef};
use super::Build;

/// Offset of the number of events of which one is sent.
pub(in crate::compile) const EVERY: u32 = 0;
/// Offset of the word that is not 0 where stacks are left empty.
pub(in crate::compile) const STACKLESS: u32 = 4;

impl Build<'_> {
    fn budget(&mut self, offset: u32) -> VReg {
        let base = self.f.reg(Ty::Ptr);
        self.f.push(Inst::MapValue { dst: base, map: MapRef::Budget });
        self.f.load(base, offset, 4)
    }

    /// Goes on only where the event is to be sent. Each CPU counts off by itself, from the number that holds at the moment.
    pub(super) fn spare_event(&mut self) {
        if !self.request.options.has_budget {
            return;
        }
        let every = self.budget(EVERY);
        let (some, all) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::Eq, every, 1, all, some);
        self.f.begin(some);
        let none = self.fate(Ledger::BudgetCounted);
        self.f.leave_if(Cmp::Eq, every, 0, none);
        self.count_off(Ledger::SinceSent, every, Ledger::BudgetSampled);
        self.f.jump(all);
        self.f.begin(all);
    }

    /// Whether stacks are left empty now, in a register; none where that can't be.
    pub(super) fn stackless(&mut self) -> Option<VReg> {
        if !self.request.options.has_budget {
            return None;
        }
        let stackless = self.budget(STACKLESS);
        let (remark, done) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::Eq, stackless, 0, done, remark);
        self.f.begin(remark);
        self.count(Ledger::BudgetStacks);
        self.f.jump(done);
        self.f.begin(done);
        Some(stackless)
    }
}

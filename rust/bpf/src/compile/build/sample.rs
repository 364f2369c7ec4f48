//! One of so many. In: their number. Out: the way of the one that is taken; the others end here, counted.
//!
//! Each CPU counts off in a word of its own of the ledger's row, which no other program writes to: the sample is exact, whatever
//! interrupts what. A probe's own sample stands before everything that costs: stacks, captures, keys, the ring.

use super::super::Ledger;
use super::super::ir::{BinOp, Cmp, Operand};
use super::Build;

impl Build<'_> {
    /// Goes on with every `every`th hit that comes by here on this CPU.
    pub(super) fn sample(&mut self, every: u64) {
        if every > 1 {
            self.count_off(Ledger::SinceTaken, every.cast_signed(), Ledger::Unsampled);
        }
    }

    /// Goes on with every `every`th that comes by here, by the state in `since`; the others have this fate.
    pub(super) fn count_off(&mut self, since: Ledger, every: impl Into<Operand>, left_out: Ledger) {
        let word = 8 * since as u32;
        let (others, taken) = (self.f.block(), self.f.block());
        let since = self.f.load(self.ledger, word, 8);
        self.f.update(BinOp::Add, since, 1);
        self.f.branch(Cmp::GeU, since, every, taken, others);
        self.f.begin(others);
        self.f.store(self.ledger, word, 8, since);
        self.count(left_out);
        self.f.jump(self.out);
        self.f.begin(taken);
        self.f.store(self.ledger, word, 8, 0);
    }
}

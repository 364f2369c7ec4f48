//! One hit of so many. In: their number. Out: the way of the one that is taken; the others end here, counted.
//!
//! Each CPU counts off in a word of its own of the ledger's row, which no other program writes to: the sample is exact, whatever
//! interrupts what. It stands before everything that costs: stacks, captures, keys, the ring.

use super::super::Ledger;
use super::super::ir::{BinOp, Cmp};
use super::Build;

impl Build<'_> {
    /// Goes on with every `every`th hit that comes by here on this CPU.
    pub(super) fn sample(&mut self, every: u64) {
        if every <= 1 {
            return;
        }
        let word = 8 * Ledger::SinceTaken as u32;
        let (left_out, taken) = (self.f.block(), self.f.block());
        let since = self.f.load(self.ledger, word, 8);
        self.f.update(BinOp::Add, since, 1);
        self.f.branch(Cmp::GeU, since, every.cast_signed(), taken, left_out);
        self.f.begin(left_out);
        self.f.store(self.ledger, word, 8, since);
        self.count(Ledger::Unsampled);
        self.f.jump(self.out);
        self.f.begin(taken);
        self.f.store(self.ledger, word, 8, 0);
    }
}

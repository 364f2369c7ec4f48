//! Stacks. In: a stack column. Out: the content hash of its frames in a register, 0 where there is no stack.
//!
//! The hash is that of `spile_core::stack::hash_frames`. What this CPU hasn't sent lately is sent whole, as a definition,
//! and is marked as sent only once it is in the ring. No probe ever inserts into a shared map for this.

use spile_core::layout::{MAX_FRAMES, STACK_COUNT, STACK_HEADER};
use spile_core::spec::{Expr, StackSpace};

use super::super::ir::{Arg, BinOp, Block, Cmp, Helper, Inst, Operand, Ty, VReg};
use super::super::{Ledger, MapRef, ProgramKind};
use super::Build;
use super::context::SharedFact;
use super::ring::NO_WAKEUP;

/// What a hash begins with.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
/// What each frame is mixed in by.
const FACTOR: u64 = 0xFF51_AFD7_ED55_8CCD;
/// A raw tracepoint's stack begins with the program itself and with `bpf_trace_runN`, which called it; that at a function's
/// entry or return with the program and its trampoline. They are skipped: no two programs would have a stack in common. A
/// classic tracepoint's begins where the tracepoint is, a kprobe's with the function.
const OWN_FRAMES: i64 = 2;
/// `BPF_F_USER_STACK`.
const USER_STACK: i64 = 1 << 8;

impl Build<'_> {
    /// Walks every stack among the columns, before the record is begun: a definition precedes its first use.
    pub(super) fn walk_stacks(&mut self, exprs: &[&Expr]) {
        let has_user_stack = exprs.iter().any(|expr| matches!(expr, Expr::Stack { space: StackSpace::User, .. }));
        if has_user_stack {
            self.share(SharedFact::PidTgid);
        }
        let has_stack = exprs.iter().any(|expr| matches!(expr, Expr::Stack { .. }));
        let stackless = if has_stack { self.stackless() } else { None };
        for expr in exprs {
            if let Expr::Stack { space, depth } = expr {
                let key = (*space, self.depth(*depth));
                if !self.stacks.contains_key(&key) {
                    let hash = self.stack(key.0, key.1, stackless);
                    self.stacks.insert(key, hash);
                }
            }
        }
    }

    /// The hash of a stack that was walked.
    pub(super) fn walked(&self, expr: &Expr) -> Option<VReg> {
        let Expr::Stack { space, depth } = expr else { return None };
        self.stacks.get(&(*space, self.depth(*depth))).copied()
    }

    pub(super) fn depth(&self, depth: Option<u32>) -> u32 {
        let most = self.request.options.stack_depth;
        depth.unwrap_or(most).min(most).clamp(1, MAX_FRAMES)
    }

    /// Walks one; an empty one where `stackless` isn't 0.
    fn stack(&mut self, space: StackSpace, depth: u32, stackless: Option<VReg>) -> VReg {
        let scratch = self.scratch();
        let most = i64::from(8 * depth);
        let hash = self.f.reg(Ty::Int);
        self.f.push(Inst::Const { dst: hash, value: 0 });
        let frames = self.f.binary(BinOp::Add, scratch, i64::from(STACK_HEADER));
        let flags = match (space, self.request.kind) {
            (StackSpace::User, _) => USER_STACK,
            (StackSpace::Kernel, ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit) => OWN_FRAMES,
            (StackSpace::Kernel, _) => 0,
        };
        let pid = match space {
            StackSpace::Kernel => None,
            StackSpace::User => {
                let pid_tgid = self.share(SharedFact::PidTgid);
                Some(self.f.binary(BinOp::ShrU, pid_tgid, 32))
            }
        };
        let spared = stackless.map(|stackless| {
            let (length, walked) = (self.f.constant(0), self.f.block());
            self.f.leave_if(Cmp::Ne, stackless, 0, walked);
            (length, walked)
        });
        let is_returning = space == StackSpace::Kernel && self.request.kind == ProgramKind::Kretprobe;
        let length = if is_returning {
            self.returning_stack(frames, most)
        } else {
            let args = [Arg::Reg(self.context), Arg::Reg(frames), Arg::Imm(most), Arg::Imm(flags)];
            self.f.call(Helper::GetStack, &args, Ty::Int)
        };
        let (failed, done) = (self.f.block(), self.f.block());
        // A timer that finds its CPU in user mode has an empty kernel stack: that is a stack like any other.
        let is_missing = if space == StackSpace::Kernel { Cmp::LtS } else { Cmp::LeS };
        self.f.leave_if(is_missing, length, 0, failed);
        let length = spared.map_or(length, |(spared, walked)| {
            self.f.push(Inst::Copy { dst: spared, src: length });
            self.f.jump(walked);
            self.f.begin(walked);
            spared
        });
        // The kernel's verifier forgets what it knew of a number that was kept on the stack: the bound is told of a copy.
        let rest = self.f.copy(length);
        self.f.leave_if(Cmp::GtS, rest, most, failed);
        self.hash(hash, scratch, rest, pid);
        self.define(hash, scratch, length, most, pid, done);
        self.f.jump(done);
        self.f.begin(failed);
        // A kernel thread has no user stack: that is no failure.
        if space == StackSpace::Kernel {
            self.count(Ledger::StackFailed);
        }
        self.f.jump(done);
        self.f.begin(done);
        hash
    }

    /// At a kretprobe the function has left the stack already, which begins where it returns to: it is put there again.
    fn returning_stack(&mut self, frames: VReg, most: i64) -> VReg {
        let function = self.f.call(Helper::GetFuncIp, &[Arg::Reg(self.context)], Ty::Int);
        self.f.store(frames, 0, 8, function);
        if most == 8 {
            return self.f.constant(8);
        }
        let callers = self.f.binary(BinOp::Add, frames, 8);
        let args = [Arg::Reg(self.context), Arg::Reg(callers), Arg::Imm(most - 8), Arg::Imm(0)];
        let length = self.f.call(Helper::GetStack, &args, Ty::Int);
        let (walked, done) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::LtS, length, 0, done, walked);
        self.f.begin(walked);
        self.f.update(BinOp::Add, length, 8);
        self.f.jump(done);
        self.f.begin(done);
        length
    }

    /// A loop over the frames. The kernel's verifier follows `rest` downwards, so it knows that the loop ends.
    fn hash(&mut self, hash: VReg, scratch: VReg, rest: VReg, pid: Option<VReg>) {
        let frame = self.f.binary(BinOp::Add, scratch, i64::from(STACK_HEADER));
        let factor = self.f.constant(FACTOR as i64);
        self.f.push(Inst::Const { dst: hash, value: SEED as i64 });
        if let Some(pid) = pid {
            self.f.update(BinOp::Xor, hash, pid);
        }
        let (each, end) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::GtS, rest, 0, each, end);
        self.f.begin(each);
        let address = self.f.load(frame, 0, 8);
        self.f.update(BinOp::Xor, hash, address);
        self.f.update(BinOp::Mul, hash, factor);
        let high = self.f.binary(BinOp::ShrU, hash, 32);
        self.f.update(BinOp::Xor, hash, high);
        self.f.update(BinOp::Add, frame, 8);
        self.f.update(BinOp::Sub, rest, 8);
        self.f.branch(Cmp::GtS, rest, 0, each, end);
        self.f.begin(end);
        // 0 means that there is no stack.
        let (zero, done) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::Eq, hash, 0, zero, done);
        self.f.begin(zero);
        self.f.push(Inst::Const { dst: hash, value: 1 });
        self.f.jump(done);
        self.f.begin(done);
    }

    /// Sends the stack unless this CPU did lately.
    fn define(&mut self, hash: VReg, scratch: VReg, length: VReg, most: i64, pid: Option<VReg>, done: Block) {
        let slots = i64::from(self.request.options.stack_cache.max(1));
        let index = self.f.binary(BinOp::And, hash, slots - 1);
        let entry = self.lookup(MapRef::StackCache, index);
        self.f.leave_if(Cmp::Eq, entry, 0, done);
        let sent = self.f.load(entry, 0, 8);
        self.f.leave_if(Cmp::Eq, sent, hash, done);
        let lost = self.f.block();
        self.f.store(scratch, 0, 8, hash);
        let shift = i64::from(8 * (STACK_COUNT - 8));
        // id 0, then the count of frames, then the process id.
        let mut word = self.f.binary(BinOp::Shl, length, shift - 3);
        if let Some(pid) = pid {
            let high = self.f.binary(BinOp::Shl, pid, 32);
            word = self.f.binary(BinOp::Or, word, high);
        }
        self.f.store(scratch, 8, 8, word);
        let ring = self.ring(lost);
        let size = self.f.copy(length);
        self.f.leave_if(Cmp::GtU, size, most, done);
        self.f.update(BinOp::Add, size, i64::from(STACK_HEADER));
        let args = [Arg::Reg(scratch), Arg::Reg(size), NO_WAKEUP];
        let error = self.ring_call(ring, Helper::RingOutput, &args, Ty::Int);
        self.f.leave_if(Cmp::Ne, error, 0, lost);
        self.f.store(entry, 0, 8, Operand::Reg(hash));
        self.f.jump(done);
        self.f.begin(lost);
        self.count(Ledger::StackDefinitionLost);
    }
}

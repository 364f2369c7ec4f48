//! Facts about the moment. In: a [`Context`]. Out: a number in a register.

use spile_core::error::Error;
use spile_core::spec::{Condition, Context, Expr};

use super::super::ir::{Arg, BinOp, Block, Cmp, Helper, Inst, Ty, VReg};
use super::Build;
use super::int::Int;

/// `MAX_ERRNO` in include/linux/err.h.
const MAX_ERRNO: i64 = 4095;

/// What one helper call tells for more than one capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::compile) enum SharedFact {
    PidTgid,
    UidGid,
    Task,
}

impl SharedFact {
    fn of(context: Context) -> Option<Self> {
        match context {
            Context::Pid | Context::Tid => Some(Self::PidTgid),
            Context::Uid | Context::Gid => Some(Self::UidGid),
            Context::Ppid | Context::Utime | Context::Stime | Context::Task => Some(Self::Task),
            _ => None,
        }
    }

    fn helper(self) -> Helper {
        match self {
            Self::PidTgid => Helper::CurrentPidTgid,
            Self::UidGid => Helper::CurrentUidGid,
            Self::Task => Helper::CurrentTask,
        }
    }
}

impl Build<'_> {
    /// Calls the helper now and remembers its result: the caller is on the one way that everything later comes by.
    pub(super) fn share(&mut self, fact: SharedFact) -> VReg {
        match self.shared.get(&fact) {
            Some(reg) => *reg,
            None => {
                let reg = self.f.call(fact.helper(), &[], Ty::Int);
                self.shared.insert(fact, reg);
                reg
            }
        }
    }

    /// Calls once what the expressions to come need more than once.
    pub(super) fn share_among<'e>(&mut self, exprs: impl Iterator<Item = &'e Expr>) {
        let mut facts = Vec::new();
        exprs.for_each(|expr| facts_of(expr, &mut facts));
        for fact in [SharedFact::PidTgid, SharedFact::UidGid, SharedFact::Task] {
            if facts.iter().filter(|other| **other == fact).count() > 1 {
                self.share(fact);
            }
        }
    }

    fn fact(&mut self, fact: SharedFact) -> VReg {
        match self.shared.get(&fact) {
            Some(reg) => *reg,
            None => self.f.call(fact.helper(), &[], Ty::Int),
        }
    }

    /// A fact that is a number. A comm is not.
    pub(super) fn context_int(&mut self, context: Context, fault: Block) -> Result<Int, Error> {
        let offsets = self.request.offsets;
        let shared = SharedFact::of(context).map(|fact| self.fact(fact));
        let raw = |build: &mut Self, helper| build.f.call(helper, &[], Ty::Int);
        Ok(match (context, shared) {
            (Context::Pid | Context::Gid, Some(pair)) => Int::reg(self.f.binary(BinOp::ShrU, pair, 32), 4, false),
            (Context::Tid | Context::Uid, Some(pair)) => Int::reg(self.zero_extend(pair, 32), 4, false),
            (Context::Ppid, Some(task)) => {
                let parent = self.kernel_read(task, offsets.task_real_parent, 8, fault);
                Int::reg(self.kernel_read(parent, offsets.task_tgid, 4, fault), 4, false)
            }
            (Context::Utime, Some(task)) => Int::reg(self.kernel_read(task, offsets.task_utime, 8, fault), 8, false),
            (Context::Stime, Some(task)) => Int::reg(self.kernel_read(task, offsets.task_stime, 8, fault), 8, false),
            (Context::Task, Some(task)) => Int::reg(task, 8, false),
            (Context::Cpu, _) => Int::reg(raw(self, Helper::SmpProcessorId), 4, false),
            (Context::Cgroup, _) => Int::reg(raw(self, Helper::CurrentCgroupId), 8, false),
            (Context::Timestamp, _) => match self.time {
                Some(time) => Int::reg(time, 8, false),
                None => Int::reg(raw(self, Helper::KtimeGetNs), 8, false),
            },
            (Context::Elapsed, _) => match self.elapsed {
                Some(elapsed) => Int::reg(elapsed, 8, false),
                None => return self.refuse("only a return or a span has it, at its end"),
            },
            (Context::Ret, _) => return self.accessed(self.request.fields.ret()?, fault),
            (Context::Error, _) => self.error(fault)?,
            (Context::ProbeName, _) => Int { operand: self.id, size: 2, signed: false },
            _ => return self.refuse("comm is a string: compare it with strings"),
        })
    }

    /// The errno that a function returned, or 0: `-ret` where that is within 1 … 4095.
    fn error(&mut self, fault: Block) -> Result<Int, Error> {
        let ret = self.accessed(self.request.fields.ret()?, fault)?;
        let ret = self.in_reg(ret);
        let zero = self.f.constant(0);
        let error = self.f.binary(BinOp::Sub, zero, ret);
        let (none, done) = (self.f.block(), self.f.block());
        self.f.branch(Cmp::GtU, error, MAX_ERRNO, none, done);
        self.f.begin(none);
        self.f.push(Inst::Const { dst: error, value: 0 });
        self.f.jump(done);
        self.f.begin(done);
        Ok(Int::reg(error, 4, true))
    }

    /// Kernel memory at an address, widened with zeros.
    pub(super) fn kernel_read(&mut self, address: VReg, offset: u32, size: u8, fault: Block) -> VReg {
        let address = self.displaced(address, offset);
        let args = [Arg::Slot(self.buffer), Arg::Imm(i64::from(size)), Arg::Reg(address)];
        let error = self.f.call(Helper::ProbeReadKernel, &args, Ty::Int);
        self.f.leave_if(Cmp::Ne, error, 0, fault);
        self.f.load(self.buffer, 0, size)
    }

    /// `address + offset`.
    pub(super) fn displaced(&mut self, address: VReg, offset: u32) -> VReg {
        if offset == 0 { address } else { self.f.binary(BinOp::Add, address, i64::from(offset)) }
    }

    /// The low bits of a register.
    pub(super) fn zero_extend(&mut self, reg: VReg, bits: u32) -> VReg {
        let high = self.f.binary(BinOp::Shl, reg, i64::from(64 - bits));
        self.f.binary(BinOp::ShrU, high, i64::from(64 - bits))
    }
}

fn facts_of(expr: &Expr, facts: &mut Vec<SharedFact>) {
    match expr {
        Expr::Context { name } => facts.extend(SharedFact::of(*name)),
        Expr::Binary { left, right, .. } => {
            facts_of(left, facts);
            facts_of(right, facts);
        }
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } => facts_of(inner, facts),
        Expr::AtStart { .. } | Expr::Field { .. } | Expr::Stack { .. } | Expr::Int { .. } => {}
    }
}

/// The expressions that a condition compares.
pub fn exprs_of(condition: &Condition) -> Vec<&Expr> {
    match condition {
        Condition::Compare { left, right, .. } => vec![left, right],
        Condition::StringIn { value, .. } | Condition::StartsWith { value, .. } | Condition::IsIn { value, .. } => {
            vec![value]
        }
        Condition::And { terms } | Condition::Or { terms } => terms.iter().flat_map(exprs_of).collect(),
        Condition::Not { term } => exprs_of(term),
    }
}

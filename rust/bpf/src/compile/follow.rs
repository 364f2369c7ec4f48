//! Programs that keep [`MapRef::Pids`] complete. In: offsets in `task_struct`. Out: a program for each raw tracepoint.
//!
//! * `sched_process_fork` runs in the process that forks, with the child as its second argument: if the process is
//!   followed, so is the child, before it runs at all;
//! * `sched_process_free` runs once nothing of a task is left, after its last `sched_switch`, so that the events of its
//!   exit are still seen. A process ends with its leading thread, whose number is the process's.

use spile_core::error::Error;

use super::ir::{Arg, BinOp, Block, Cmp, Function, Helper, Inst, Slot, Terminator, Ty, VReg};
use super::{KernelOffsets, MapRef, Program, ProgramKind};

/// Each raw tracepoint's name and program.
pub fn follow(offsets: &KernelOffsets) -> Result<[(&'static str, Program); 2], Error> {
    Ok([
        ("sched_process_fork", super::finish(ProgramKind::RawTracepoint, fork(offsets))?),
        ("sched_process_free", super::finish(ProgramKind::RawTracepoint, free(offsets))?),
    ])
}

fn begin(name: &str) -> (Function, VReg, Slot, Block) {
    let mut f = Function::new(name.into());
    let context = f.reg(Ty::Ptr);
    f.push(Inst::Context { dst: context });
    let (key, out) = (f.slot(8), f.block());
    (f, context, key, out)
}

fn end(mut f: Function, out: Block) -> Function {
    f.jump(out);
    f.begin(out);
    f.end(Terminator::Exit);
    f.prune();
    f
}

/// Reads 4 bytes of a task into the slot.
fn read(f: &mut Function, to: Slot, task: VReg, offset: u32, fault: Block) -> VReg {
    let address = f.binary(BinOp::Add, task, i64::from(offset));
    let error = f.call(Helper::ProbeReadKernel, &[Arg::Slot(to), Arg::Imm(4), Arg::Reg(address)], Ty::Int);
    f.leave_if(Cmp::Ne, error, 0, fault);
    f.load(to, 0, 4)
}

fn fork(offsets: &KernelOffsets) -> Function {
    let (mut f, context, key, out) = begin("spile_fork");
    let pid_tgid = f.call(Helper::CurrentPidTgid, &[], Ty::Int);
    let parent = f.binary(BinOp::ShrU, pid_tgid, 32);
    f.store(key, 0, 4, parent);
    let entry = f.call(Helper::MapLookup, &[Arg::Map(MapRef::Pids), Arg::Slot(key)], Ty::Ptr);
    f.leave_if(Cmp::Eq, entry, 0, out);
    let failed = f.block();
    let task = f.load(context, 8, 8);
    let child = read(&mut f, key, task, offsets.task_tgid, failed);
    // A thread is of a process that is followed already.
    f.leave_if(Cmp::Eq, child, parent, out);
    let value = f.slot(8);
    f.store(value, 0, 4, 1);
    let args = [Arg::Map(MapRef::Pids), Arg::Slot(key), Arg::Slot(value), Arg::Imm(0)];
    let error = f.call(Helper::MapUpdate, &args, Ty::Int);
    f.leave_if(Cmp::Ne, error, 0, failed);
    f.jump(out);
    f.begin(failed);
    f.store(key, 0, 4, 0);
    let row = f.call(Helper::MapLookup, &[Arg::Map(MapRef::Ledger), Arg::Slot(key)], Ty::Ptr);
    f.leave_if(Cmp::Eq, row, 0, out);
    let lost = f.load(row, 0, 8);
    let more = f.binary(BinOp::Add, lost, 1);
    f.store(row, 0, 8, more);
    end(f, out)
}

fn free(offsets: &KernelOffsets) -> Function {
    let (mut f, context, key, out) = begin("spile_free");
    let task = f.load(context, 0, 8);
    let thread = read(&mut f, key, task, offsets.task_pid, out);
    let process = read(&mut f, key, task, offsets.task_tgid, out);
    f.leave_if(Cmp::Ne, thread, process, out);
    f.call_for_effect(Helper::MapDelete, &[Arg::Map(MapRef::Pids), Arg::Slot(key)]);
    end(f, out)
}

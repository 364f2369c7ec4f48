"""What every probe can capture, whatever it is attached to, and `arg`, its own fields.

Context is that of the task that the probe interrupts: in softirqs and completions that is whoever ran, in
``sched_switch`` the task that leaves.
"""

from __future__ import annotations

from spile.enums import NamedInt
from spile.expr.backtrace import Backtrace
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.path import Path
from spile.expr.stack import StackTrace
from spile.expr.wrapper import Expr, Value


def _number(name: str) -> Expr[int]:
    return Value(Context(name))


def _string(name: str) -> Expr[str]:
    return Value(Context(name))


#: The process, as user space counts (the kernel's tgid).
pid: Expr[int] = _number("pid")
#: The thread, as user space counts (the kernel's pid). Every CPU's idle thread is 0.
tid: Expr[int] = _number("tid")
#: The parent process.
ppid: Expr[int] = _number("ppid")
#: The real user.
uid: Expr[int] = _number("uid")
#: The real group.
gid: Expr[int] = _number("gid")
#: The cgroup's id: the inode number of its directory in the unified hierarchy.
cgroup: Expr[int] = _number("cgroup")
#: The task's name, at most 15 bytes.
comm: Expr[str] = _string("comm")
#: The CPU, from 0.
cpu: Expr[int] = _number("cpu")
#: CLOCK_MONOTONIC, nanoseconds.
timestamp: Expr[int] = _number("timestamp")
#: This thread's time in user mode so far, nanoseconds.
utime: Expr[int] = _number("utime")
#: This thread's time in kernel mode so far, nanoseconds.
stime: Expr[int] = _number("stime")
#: The address of the task's `task_struct`: the task's identity, idle threads included.
task: Expr[int] = _number("task")
#: The name of the target, such as ``sched_switch``: tells a group's members apart.
probe_name: Expr[str] = _string("probe_name")
#: What a function returned; of returns only.
ret: Expr[int] = _number("ret")
#: The errno that a function returned, as a positive number with its name, ``ENOENT``, else 0; of returns only.
error: Expr[NamedInt] = Value(Context("error"))
#: Nanoseconds since a function was entered, or since a span's start; of returns and spans only.
elapsed: Expr[int] = _number("elapsed")
#: The kernel's stack; ``kstack[:8]`` keeps the 8 innermost frames.
kstack: Backtrace = Backtrace(StackTrace("kernel"))
#: The process's stack, where it was compiled with frame pointers; ``ustack[:8]`` keeps the 8 innermost frames.
ustack: Backtrace = Backtrace(StackTrace("user"))
#: The probe's own fields: ``arg.prev_pid``, ``arg["from"]`` (a keyword), ``arg[0]`` (the first argument).
arg: Path = Path(Field(()))

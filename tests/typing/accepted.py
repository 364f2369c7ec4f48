"""What type checkers must infer. Checked by mypy --strict and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

import spile as sp
from spile import arg, between, comm, isin, kstack, ms, pid, startswith, string, ustack, utime
from spile.probe import E, Fields, Probe, Where

# Captures.
assert_type(pid, sp.Expr[int])
assert_type(comm, sp.Expr[str])
assert_type(sp.timestamp, sp.Expr[int])
assert_type(sp.probe_name, sp.Expr[str])
stack: sp.Expr[sp.Stack] = kstack
short: sp.Expr[sp.Stack] = ustack[:8]
field: sp.Expr[Any] = arg.file.f_inode["i_ino"]
first: sp.Expr[int] = arg[0]
keyword: sp.Expr[str] = arg["from"]

# Arithmetic.
assert_type(pid + 1, sp.Expr[int])
assert_type(1 << sp.cpu, sp.Expr[int])
assert_type(utime // ms % 1000, sp.Expr[int])
assert_type(arg.count - arg.done, sp.Expr[int])
assert_type(2 * arg.count, sp.Expr[int])
assert_type(~arg.flags & 0xFFF | 1 ^ pid, sp.Expr[int])
assert_type(-pid, sp.Expr[int])
assert_type(string(arg.filename), sp.Expr[str])
assert_type(string(arg.filename + 8, limit=64), sp.Expr[str])

# Conditions.
assert_type(pid == 1, sp.Condition)
assert_type(comm == "cc1", sp.Condition)
assert_type(comm != "cc1", sp.Condition)
assert_type(arg.name == "eth0", sp.Condition)
assert_type(arg.count == arg.done, sp.Condition)
assert_type(pid < arg.count, sp.Condition)
assert_type(4096 < arg.count, sp.Condition)
assert_type((arg.count > 4096) & (comm == "cc1") | ~(pid == 1), sp.Condition)
assert_type(isin(pid, 1, 2), sp.Condition)
assert_type(isin(comm, "cc1", "as"), sp.Condition)
assert_type(isin(arg.newstate, "TCP_SYN_SENT", "TCP_SYN_RECV"), sp.Condition)
assert_type(isin(arg.prev_state, 0, 256), sp.Condition)
assert_type(between(arg.count, 1, pid), sp.Condition)
assert_type(startswith(comm, "kworker/"), sp.Condition)
assert_type(startswith(arg.name, "eth"), sp.Condition)


# Typed events: of the class an expression, of an event its value.
class Task(sp.Event):
    pid, comm = sp.pid, sp.comm


class Open(Task):
    path = string(arg.filename)
    flags = arg.flags
    count: sp.Expr[int] = arg.count
    trace = kstack
    took = utime // ms

    def shown(self) -> str:
        return f"{self.pid:<7} {self.comm:<16} {self.path}"


def handle(event: Open) -> None:
    assert_type(event.pid, int)
    assert_type(event.comm, str)
    assert_type(event.path, str)
    assert_type(event.count, int)
    assert_type(event.trace, sp.Stack)
    assert_type(event.took, int)
    assert_type(event.time, int)
    assert_type(event.probe, str)
    flags: int = event.flags
    assert_type(event.shown(), str)
    print(flags, event.trace[0].symbol, event["pid"])


assert_type(Open.pid, sp.Expr[int])
assert_type(Open.comm == "x", sp.Condition)


# What a session's methods take.
def declare(*, capture: type[E] | Fields | None = None, where: Where | None = None) -> Probe[E]:
    return Probe(None, "tracepoint", "sched:sched_switch", capture=capture, where=where)


assert_type(declare(), Probe[sp.Event])
assert_type(declare(capture=Open), Probe[Open])
assert_type(declare(capture="*", where=pid == 1), Probe[sp.Event])
assert_type(declare(capture={"a": pid, "b": comm, "c": kstack, "d": arg.x}), Probe[sp.Event])
assert_type(declare(capture=[pid, comm, kstack, arg.x], where=[pid == 1, comm == "x"]), Probe[sp.Event])
assert_type(declare(capture=[], where=sp.expr("pid == 1")), Probe[sp.Event])

# Probes.
session = sp.Session()
opens = session.tracepoint("syscalls:sys_enter_openat", capture=Open, where=[pid != 0, comm != "x"])
assert_type(opens, Probe[Open])
for event in opens:
    assert_type(event, Open)
    assert_type(event.path, str)

switches = session.tracepoint("sched:sched_switch", capture={"next": arg.next_pid}, where=sp.expr("arg.prev_pid != 0"))
assert_type(switches, Probe[sp.Event])
assert_type(session.profile(99, capture=[comm, kstack]), Probe[sp.Event])
assert_type(session.probe("sched:sched_switch", capture=Open), Probe[Open])
assert_type(session.raw_tracepoint(["sched_switch", "sched_wakeup"], capture="*", name="both"), Probe[sp.Event])

# Functions, returns, spans.
assert_type(sp.ret, sp.Expr[int])
assert_type(sp.elapsed // sp.us, sp.Expr[int])
assert_type(sp.at_start(comm), sp.Expr[str])
assert_type(sp.at_start(comm) == "x", sp.Condition)
assert_type(sp.error == "ENOENT", sp.Condition)
assert_type(sp.error != 2, sp.Condition)
assert_type(isin(sp.error, "ENOENT", "EIO"), sp.Condition)
at: sp.Expr[sp.Stack] = sp.at_start(kstack)


class Read(sp.Event):
    count = arg.count
    ret, error, ns = sp.ret, sp.error, sp.elapsed
    who = sp.at_start(comm)


returns = session.function_return("vfs_read", capture=Read, where=sp.ret < 0, attach="kprobe")
assert_type(returns, Probe[Read])
for read in returns:
    assert_type(read.ret, int)
    assert_type(read.who, str)
    assert_type(read.error, sp.NamedInt)
    assert_type(read.error.name, str | None)
assert_type(session.function("vfs_*", capture=[pid]), Probe[sp.Event])
wait = session.span(start=[(switches, arg.prev_pid), opens], end=(switches, arg.next_pid), restart=False)
assert_type(wait, Probe[sp.Event])
assert_type(session.span(opens, switches, key=pid, capture=Read), Probe[Read])
assert_type(session.span([opens], [switches, opens]).count(by=sp.at_start(comm)), sp.Table[str, int])

assert_type(switches.count(), sp.Cell[int])
assert_type(switches.count(by=comm), sp.Table[str, int])
assert_type(switches.count(by=(comm,)), sp.Table[tuple[str], int])
assert_type(switches.count(by=(comm, kstack)), sp.Table[tuple[str, sp.Stack], int])
assert_type(switches.count(by=(comm, pid, kstack)), sp.Table[tuple[str, int, sp.Stack], int])
assert_type(switches.count(by=kstack[:8]), sp.Table[sp.Stack, int])
assert_type(switches.count(by=arg.prev_state), sp.Table[Any, int])
assert_type(switches.count(by=pid % 4).top(3), list[tuple[int, int]])
assert_type(switches.count(by=comm).take(), sp.Snapshot[str, int])
assert_type(switches.sum(arg.prev_prio), sp.Cell[int])
assert_type(switches.sum(arg.prev_prio, by=(comm, kstack)), sp.Table[tuple[str, sp.Stack], int])
assert_type(switches.min(pid), sp.Cell[int | None])
assert_type(wait.max(sp.elapsed // sp.us, by=comm), sp.Table[str, int])
switches.avg(pid)
switches.stats(arg.prev_prio, by=comm)
wait.hist(sp.elapsed // sp.us, by=(sp.cpu, comm))
wait.quantiles(sp.elapsed)
switches.lhist(arg.prev_prio, 0, 140, 20, by=comm)
switches.top(comm, size=5)
switches.top(kstack, by=sp.cpu)
switches.distinct(kstack, by=comm)
switches.distinct(pid)


@opens.on_event
def on_open(event: Open, pid: int, path: str) -> None: ...


@switches.on_batch
def on_switches(batch: sp.Batch) -> None: ...


on_open(Open("openat", {"pid": 1}), pid=1, path="/etc")
assert_type(wait.hist(sp.elapsed // sp.us, by=comm).with_unit("us"), sp.Table[str, sp.Histogram])
assert_type(wait.quantiles(sp.elapsed).value, sp.Quantiles)
assert_type(switches.stats(pid, by=comm).top(3, key=lambda stats: stats.avg), list[tuple[str, sp.Stats]])
assert_type(switches.top(comm).value[0], sp.TopItem)
assert_type(switches.distinct(pid, by=comm).snapshot() + {}, sp.Snapshot[str, sp.Distinct])
assert_type(switches.avg(pid, by=comm).overall, sp.Average)

"""Specs for the tests of generated scripts: one for each feature, and a few as people would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spile.expr import (
    arg,
    cgroup,
    comm,
    cpu,
    gid,
    isin,
    kstack,
    pid,
    ppid,
    probe_name,
    startswith,
    stime,
    string,
    task,
    tid,
    timestamp,
    uid,
    ustack,
    utime,
)
from spile.expr.at_start import AtStart
from spile.expr.context import Context
from spile.expr.operand import node_of
from spile.expr.wrapper import Expr, Value
from spile.spec import (
    COUNT,
    AggregateFunction,
    AggregateSpec,
    Function,
    FunctionReturn,
    Limits,
    NamedExpr,
    ProbeSpec,
    Profile,
    RawTracepoint,
    SessionSpec,
    SpanSide,
    SpanSpec,
    Target,
    TargetFilter,
    Tracepoint,
)

ret, error, elapsed = (Value(Context(name)) for name in ("ret", "error", "elapsed"))


def at_start(value: Expr[Any]) -> Expr[Any]:
    """The value at the start."""
    return Value(AtStart(node_of(value)))  # type: ignore[arg-type]


def probe(target: Target, name: str = "p", /, *, where: Any = None, by: Any = None, **captured: Expr[Any]) -> ProbeSpec:
    """A probe of one target: events, or with `by` counts alone."""
    aggregates = () if by is None else (AggregateSpec(COUNT, tuple(node_of(part) for part in by)),)  # type: ignore[misc]
    return ProbeSpec(
        name,
        (target,),
        capture=tuple(NamedExpr(key, node_of(value)) for key, value in captured.items()),  # type: ignore[arg-type]
        condition=None if where is None else node_of(where),  # type: ignore[arg-type]
        aggregates=aggregates,
        deliver=by is None,
    )


def accumulated(*aggregates: AggregateSpec, deliver: bool = False, where: Any = None) -> ProbeSpec:
    """A probe that accumulates values."""
    condition = None if where is None else node_of(where)
    return ProbeSpec("p", (READ,), (), condition, aggregates=aggregates, deliver=deliver)  # type: ignore[arg-type]


def aggregate(kind: str, value: Expr[Any] | None, *by: Expr[Any], **parameters: int) -> AggregateSpec:
    """One thing that is accumulated."""
    nodes = tuple(node_of(part) for part in by)
    of = None if value is None else node_of(value)
    return AggregateSpec(AggregateFunction(kind, tuple(parameters.items())), nodes, of)  # type: ignore[arg-type]


def session(*probes: ProbeSpec, **target: Any) -> SessionSpec:
    """A session of these."""
    return SessionSpec(probes=probes, target=TargetFilter(**target))


def span(restart: bool = True, where: Any = None, **captured: Expr[Any]) -> SessionSpec:
    """From a read's beginning to a check on its way."""
    sides = (SpanSide(0, node_of(task)),), (SpanSide(1, node_of(task)),)  # type: ignore[arg-type]
    wait = ProbeSpec(
        "wait",
        (),
        capture=tuple(NamedExpr(key, node_of(value)) for key, value in captured.items()),  # type: ignore[arg-type]
        condition=None if where is None else node_of(where),  # type: ignore[arg-type]
        span=SpanSpec(*sides, restart=restart, max_open=1000),
    )
    return session(probe(READ, "begin", tid=tid), probe(Function("rw_verify_area"), "checked", pid=pid), wait)


READ, READ_RETURN = Function("vfs_read"), FunctionReturn("vfs_read")
SWITCH = Tracepoint("sched", "sched_switch")
NAME = arg.file.f_path.dentry.d_name.name

#: Specs as people would write them, by the name of their golden file.
GOLDEN: dict[str, Callable[[], SessionSpec]] = {
    "function": lambda: session(
        probe(
            READ,
            "reads",
            where=(arg.count > 4096) & ~isin(comm, "dd", "cat"),
            pid=pid,
            count=arg.count,
            name=string(NAME, 64),
        )
    ),
    "return": lambda: session(
        probe(READ_RETURN, "reads", where=elapsed > 1_000_000, count=arg.count, ret=ret, error=error, ns=elapsed),
    ),
    "stack": lambda: session(probe(Profile(99), "samples", where=pid != 0, comm=comm, stack=kstack[:20])),
    "counts": lambda: session(probe(READ, "reads", by=(comm, arg.count // 1024), where=arg.count > 0), pid=42),
    "span": lambda: span(who=at_start(comm), count=at_start(arg.count), ns=elapsed),
    "values": lambda: session(
        accumulated(
            aggregate("stats", arg.count, comm),
            aggregate("max", task),
            aggregate("hist", arg.count, pid),
            aggregate("lhist", arg.count, low=0, high=4096, step=256),
            aggregate("top", string(NAME, 64), size=10),
        )
    ),
}

#: Every feature of a spec: its name in the documentation's table, and the least session that needs it.
FEATURES: dict[str, Callable[[], SessionSpec]] = {
    "function": lambda: session(probe(READ, pid=pid)),
    "function_return": lambda: session(probe(READ_RETURN, pid=pid)),
    "tracepoint": lambda: session(probe(SWITCH, pid=pid)),
    "tracepoint, its fields": lambda: session(probe(SWITCH, x=arg.prev_pid)),
    "tracepoint of syscalls": lambda: session(probe(Tracepoint("syscalls", "sys_enter_read"), pid=pid)),
    "raw_tracepoint": lambda: session(probe(RawTracepoint("sched_switch"), x=arg.prev.pid)),
    "profile": lambda: session(probe(Profile(99), pid=pid)),
    "span": lambda: span(ns=elapsed),
    "span, restart=False": lambda: span(restart=False, ns=elapsed),
    "at_start": lambda: span(x=at_start(comm)),
    "a list of targets": lambda: SessionSpec((ProbeSpec("p", (READ, Function("vfs_write"))),)),
    'capture="*"': lambda: SessionSpec((ProbeSpec("p", (READ,), capture=None),)),
    "pid, tid, ppid, uid, gid": lambda: session(probe(READ, a=pid, b=tid, c=ppid, d=uid, e=gid)),
    "comm": lambda: session(probe(READ, a=comm)),
    "cpu": lambda: session(probe(READ, a=cpu)),
    "timestamp": lambda: session(probe(READ, a=timestamp)),
    "utime, stime": lambda: session(probe(READ, a=utime, b=stime)),
    "task": lambda: session(probe(READ, a=task)),
    "cgroup": lambda: session(probe(READ, a=cgroup)),
    "probe_name": lambda: session(probe(READ, a=probe_name)),
    "kstack": lambda: session(probe(READ, a=kstack)),
    "ustack": lambda: session(probe(READ, a=ustack)),
    "arg.name, arg.pointer.member": lambda: session(probe(READ, a=arg.count, b=arg.file.f_flags)),
    "arg[0]": lambda: session(probe(READ, a=arg[0])),
    "string()": lambda: session(probe(READ, a=string(arg.buf, 100))),
    "string() of more than 8 KB": lambda: session(probe(READ, a=string(arg.buf, 16384))),
    "ret, error": lambda: session(probe(READ_RETURN, a=ret, b=error)),
    "elapsed": lambda: session(probe(READ_RETURN, a=elapsed)),
    "+ - * // % << >> & | ^": lambda: session(
        probe(READ, a=((arg.count + 1 - 2) * 3 // 4 % 5) << (6 >> pid) & 7 | 8 ^ arg.pos)  # type: ignore[operator]
    ),
    "~ of a fact": lambda: session(probe(READ, a=~pid)),
    "~ of a field": lambda: session(probe(READ, a=~arg.count)),
    "where=": lambda: session(probe(READ, where=arg.count > 4096)),
    "max_overhead=": lambda: replace(session(probe(READ, pid=pid)), limits=Limits(max_overhead=30_000)),
    "sample=": lambda: session(replace(probe(READ, pid=pid), sample=100)),
    "& | ~ of conditions": lambda: session(probe(READ, where=(pid > 1) & ~((tid == 2) | (uid != 0)))),
    "strings: == isin() startswith()": lambda: session(
        probe(READ, where=(comm == "a") | isin(comm, "b", "c") | startswith(comm, "d"))
    ),
    "count()": lambda: session(probe(READ, by=())),
    "count(by=…)": lambda: session(probe(READ, by=(comm, arg.count))),
    "count(by=kstack)": lambda: session(probe(READ, by=(kstack,))),
    "sum(), min(), max(), avg(), stats()": lambda: session(
        accumulated(*(aggregate(kind, arg.count, comm) for kind in ("sum", "min", "max", "avg", "stats")))
    ),
    "hist(), lhist(), quantiles()": lambda: session(
        accumulated(
            aggregate("hist", arg.count, comm),
            aggregate("lhist", arg.count, low=-64, high=64, step=2),
            aggregate("quantiles", task),
        )
    ),
    "top(), distinct()": lambda: session(
        accumulated(aggregate("top", string(NAME, 64), comm, size=10), aggregate("distinct", kstack))
    ),
    "attach=": lambda: SessionSpec((replace(probe(READ, pid=pid), attach="kprobe"),)),
    'attach="fentry"': lambda: SessionSpec((replace(probe(READ, pid=pid), attach="fentry"),)),
    "pid=, command=": lambda: session(probe(READ, pid=pid), pid=1, follow=False),
    "follow=True": lambda: session(probe(READ, pid=pid), pid=1),
    "cgroup=": lambda: session(probe(READ, pid=pid), cgroup=1),
}

"""Expressions: captures, Python's operators on them, and the nodes that they make.

Scripts see `Expr[T]` and `Condition` (`wrapper`), made from what `captures` names. Each operator makes a frozen node
(one file for each kind), and a node becomes the JSON of the spec. `spile.text` makes the same nodes from strings.
"""

from __future__ import annotations

from spile.expr.captures import (
    arg,
    cgroup,
    comm,
    cpu,
    elapsed,
    error,
    gid,
    kstack,
    pid,
    ppid,
    probe_name,
    ret,
    stime,
    task,
    tid,
    timestamp,
    uid,
    ustack,
    utime,
)
from spile.expr.functions import at_start, between, isin, startswith, string
from spile.expr.shown import disk, inet, symbol
from spile.expr.units import ms, s, us
from spile.expr.wrapper import Condition, Expr

__all__ = [
    "Condition",
    "Expr",
    "arg",
    "at_start",
    "between",
    "cgroup",
    "comm",
    "cpu",
    "disk",
    "elapsed",
    "error",
    "gid",
    "inet",
    "isin",
    "kstack",
    "ms",
    "pid",
    "ppid",
    "probe_name",
    "ret",
    "s",
    "startswith",
    "stime",
    "string",
    "symbol",
    "task",
    "tid",
    "timestamp",
    "uid",
    "us",
    "ustack",
    "utime",
]

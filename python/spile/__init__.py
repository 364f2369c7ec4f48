"""spile: probe a running Linux system from Python.

    import spile as sp
    session = sp.Session()
    switches = session.tracepoint("sched:sched_switch").count(by=sp.kstack)
    session.run(duration=5)
    print(switches.top(5))

A script describes probes; the kernel answers; Rust decodes and counts; Python gets events, batches and tables.
`Session` is where to begin. ``from spile import *`` brings classes and functions only; captures such as ``pid``,
``comm`` and ``kstack`` are asked for by name.
"""

from __future__ import annotations

from ._native import Batch, Columns, Event, Frame, Stack
from ._native import __version__ as __version__
from .aggregates import Average, Distinct, Histogram, Quantiles, Stats, Top, TopItem
from .enums import NamedInt
from .errors import (
    EngineError,
    Error,
    FieldNotFound,
    LossWarning,
    OverheadWarning,
    PrivilegeError,
    ProbeNotFound,
    RecordingError,
    SpecError,
    StateError,
    StreamError,
    Unsupported,
)
from .expr import Condition, Expr, at_start, between, disk, inet, isin, startswith, string, symbol
from .facade import Systemtap, SystemtapProbe
from .losses import Losses, ProbeLosses
from .probe import Probe
from .replaying import replay
from .session import Session
from .strings import CutStr
from .table import Cell, Snapshot, Table

# Last: the function takes the name of the package `spile.expr`, which stays in sys.modules.
from .text import expr

# By name only: `import *` must not shadow anybody's `s`, `pid` or `cpu`. `x as x` is what type checkers call an export.
# isort: off
from .expr import (
    arg as arg,
    cgroup as cgroup,
    comm as comm,
    cpu as cpu,
    elapsed as elapsed,
    error as error,
    gid as gid,
    kstack as kstack,
    ms as ms,
    pid as pid,
    ppid as ppid,
    probe_name as probe_name,
    ret as ret,
    s as s,
    stime as stime,
    task as task,
    tid as tid,
    timestamp as timestamp,
    uid as uid,
    us as us,
    ustack as ustack,
    utime as utime,
)
# isort: on

__all__ = [
    "Average",
    "Batch",
    "Cell",
    "Columns",
    "Condition",
    "CutStr",
    "Distinct",
    "EngineError",
    "Error",
    "Event",
    "Expr",
    "FieldNotFound",
    "Frame",
    "Histogram",
    "LossWarning",
    "Losses",
    "NamedInt",
    "OverheadWarning",
    "PrivilegeError",
    "Probe",
    "ProbeLosses",
    "ProbeNotFound",
    "Quantiles",
    "RecordingError",
    "Session",
    "Snapshot",
    "SpecError",
    "Stack",
    "StateError",
    "Stats",
    "StreamError",
    "Systemtap",
    "SystemtapProbe",
    "Table",
    "Top",
    "TopItem",
    "Unsupported",
    "at_start",
    "between",
    "disk",
    "expr",
    "inet",
    "isin",
    "replay",
    "startswith",
    "string",
    "symbol",
]

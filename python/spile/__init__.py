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
from .errors import (
    EngineError,
    Error,
    FieldNotFound,
    LossWarning,
    PrivilegeError,
    ProbeNotFound,
    RecordingError,
    SpecError,
    StateError,
    StreamError,
    Unsupported,
)
from .expr import (
    Condition,
    Expr,
    between,
    isin,
    startswith,
    string,
)
from .expr import (
    arg as arg,
)
from .expr import (
    cgroup as cgroup,
)
from .expr import (
    comm as comm,
)
from .expr import (
    cpu as cpu,
)
from .expr import (
    gid as gid,
)
from .expr import (
    kstack as kstack,
)
from .expr import (
    ms as ms,
)
from .expr import (
    pid as pid,
)
from .expr import (
    ppid as ppid,
)
from .expr import (
    probe_name as probe_name,
)
from .expr import (
    s as s,
)
from .expr import (
    stime as stime,
)
from .expr import (
    task as task,
)
from .expr import (
    tid as tid,
)
from .expr import (
    timestamp as timestamp,
)
from .expr import (
    uid as uid,
)
from .expr import (
    us as us,
)
from .expr import (
    ustack as ustack,
)
from .expr import (
    utime as utime,
)
from .facade import Systemtap, SystemtapProbe
from .losses import Losses, ProbeLosses
from .probe import Probe
from .session import Session
from .table import Cell, Snapshot, Table

# Last: the function takes the name of the package `spile.expr`, which stays in sys.modules.
from .text import expr

__all__ = [
    "Batch",
    "Cell",
    "Columns",
    "Condition",
    "EngineError",
    "Error",
    "Event",
    "Expr",
    "FieldNotFound",
    "Frame",
    "LossWarning",
    "Losses",
    "PrivilegeError",
    "Probe",
    "ProbeLosses",
    "ProbeNotFound",
    "RecordingError",
    "Session",
    "Snapshot",
    "SpecError",
    "Stack",
    "StateError",
    "StreamError",
    "Systemtap",
    "SystemtapProbe",
    "Table",
    "Unsupported",
    "between",
    "expr",
    "isin",
    "startswith",
    "string",
]

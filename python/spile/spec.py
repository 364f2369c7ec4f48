"""The description of a session: frozen dataclasses that mirror the Rust side's types, and their JSON.

In: what `Session` and `Probe` were told. Out: versioned JSON, the one thing that crosses into Rust, once per session.
`SessionSpec.from_json` reads it back, with a path in every error. What values mean is verified in Rust.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from spile.errors import SpecError
from spile.expr.node import ConditionNode, ValueNode
from spile.expr.read import read_condition, read_value
from spile.reader import Reader

#: The version of the JSON form that this release writes and reads.
VERSION = 1
#: By which rings records can travel.
TRANSPORTS = ("auto", "ringbuf", "mapped")
_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_I64_MIN, _I64_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """Which tasks may fire a probe."""

    #: A process (as user space counts) to follow; None for all.
    pid: int | None = None
    #: Whether its children, born after the start, are followed too.
    follow: bool = True
    #: A cgroup's id: the inode number of its directory.
    cgroup: int | None = None
    #: Whether the tracer's own process is kept out.
    exclude_self: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "follow": self.follow,
            "cgroup": self.cgroup,
            "exclude_self": self.exclude_self,
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("follow", "exclude_self", optional=("pid", "cgroup"))
        return cls(
            pid=None if parts["pid"].absent else parts["pid"].integer(0, _U32),
            follow=parts["follow"].flag(),
            cgroup=None if parts["cgroup"].absent else parts["cgroup"].integer(0, _U64),
            exclude_self=parts["exclude_self"].flag(),
        )


#: What a full queue may mean.
ON_FULL = ("drop", "block", "sample")


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of everything whose memory is bounded."""

    #: Bytes of ring buffer for each CPU: a power of two, at least a page.
    buffer: int = 4 << 20
    #: Bytes of decoded events that may wait for the script.
    queue: int = 64 << 20
    #: Frames kept of a stack, at most 127.
    stack_depth: int = 127
    #: Slots of each CPU's cache of stacks sent lately: a power of two.
    stack_cache: int = 4096
    #: Bytes of the tables that aggregates are kept in, all of the session's together; with 0, events are sent for all.
    tables: int = 32 << 20
    #: By which rings records travel: one of `TRANSPORTS`.
    transport: str = "auto"
    #: What happens to events for which the queue has no room: ``drop``, ``block`` or ``sample``.
    on_full: str = "drop"
    #: The share of all CPUs' time that tracing may take, in millionths; None for any.
    max_overhead: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "buffer": self.buffer,
            "queue": self.queue,
            "stack_depth": self.stack_depth,
            "stack_cache": self.stack_cache,
            "tables": self.tables,
            "transport": self.transport,
            "on_full": self.on_full,
            "max_overhead": self.max_overhead,
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        optional = ("tables", "transport", "on_full", "max_overhead")
        parts = reader.members("buffer", "queue", "stack_depth", "stack_cache", optional=optional)
        return cls(
            buffer=parts["buffer"].integer(0, _U64),
            queue=parts["queue"].integer(0, _U64),
            stack_depth=parts["stack_depth"].integer(0, _U32),
            stack_cache=parts["stack_cache"].integer(0, _U32),
            tables=32 << 20 if parts["tables"].absent else parts["tables"].integer(0, _U64),
            transport="auto" if parts["transport"].absent else parts["transport"].choice(*TRANSPORTS),
            on_full="drop" if parts["on_full"].absent else parts["on_full"].choice(*ON_FULL),
            max_overhead=None if parts["max_overhead"].absent else parts["max_overhead"].integer(0, _U32),
        )


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint by tracefs category and name; fields are those of its ``format``."""

    kind: ClassVar[str] = "tracepoint"
    category: str
    name: str

    @property
    def spelling(self) -> str:
        """As the command line has it: ``tracepoint:sched:sched_switch``."""
        return f"{self.kind}:{self.category}:{self.name}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "category": self.category, "name": self.name}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("kind", "category", "name")
        return cls(parts["category"].text(), parts["name"].text())


@dataclass(frozen=True, slots=True)
class _Named:
    """A place that its name alone tells."""

    kind: ClassVar[str]
    name: str

    @property
    def spelling(self) -> str:
        """As the command line has it: ``function:vfs_read``."""
        return f"{self.kind}:{self.name}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.members("kind", "name")["name"].text())


@dataclass(frozen=True, slots=True)
class RawTracepoint(_Named):
    """A tracepoint's raw arguments, named by BTF."""

    kind: ClassVar[str] = "raw_tracepoint"


@dataclass(frozen=True, slots=True)
class Profile:
    """A timer on every CPU, `hz` samples per second."""

    kind: ClassVar[str] = "profile"
    hz: int

    @property
    def spelling(self) -> str:
        """As the command line has it: ``profile:99``."""
        return f"{self.kind}:{self.hz}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "hz": self.hz}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.members("kind", "hz")["hz"].integer(0, _U64))


@dataclass(frozen=True, slots=True)
class Function(_Named):
    """A kernel function's entry; fields are its arguments."""

    kind: ClassVar[str] = "function"


@dataclass(frozen=True, slots=True)
class FunctionReturn(Function):
    """A kernel function's return; fields are the arguments as they were at its entry."""

    kind: ClassVar[str] = "function_return"


Target = Tracepoint | RawTracepoint | Profile | Function
_TARGETS: dict[str, type[Target]] = {
    target.kind: target for target in (Tracepoint, RawTracepoint, Profile, Function, FunctionReturn)
}
#: How a function is attached; `auto` is the best that the kernel offers.
ATTACH = ("auto", "fentry", "kprobe_multi", "kprobe")


def _read_target(reader: Reader) -> Target:
    return _TARGETS[reader.member("kind").choice(*_TARGETS)].read(reader)


@dataclass(frozen=True, slots=True)
class NamedExpr:
    """A capture and its name."""

    name: str
    expr: ValueNode

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "expr": self.expr.to_json()}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("name", "expr")
        return cls(parts["name"].text(), read_value(parts["expr"]))


@dataclass(frozen=True, slots=True)
class SpanSide:
    """One of the probes that a span pairs."""

    #: The index of a probe that stands before the span's own.
    probe: int
    #: What start and end have in common: an integer of the probe's.
    key: ValueNode

    def to_json(self) -> dict[str, Any]:
        return {"probe": self.probe, "key": self.key.to_json()}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("probe", "key")
        return cls(parts["probe"].integer(0, _U32), read_value(parts["key"]))


@dataclass(frozen=True, slots=True)
class SpanSpec:
    """Two probes that make one: what begins at the start ends at the next end with the same key."""

    start: tuple[SpanSide, ...]
    end: tuple[SpanSide, ...]
    #: Whether a second start begins anew; else the first one stays.
    restart: bool = True
    #: Starts without an end that the kernel keeps at most.
    max_open: int = 65536

    def to_json(self) -> dict[str, Any]:
        return {
            "start": [side.to_json() for side in self.start],
            "end": [side.to_json() for side in self.end],
            "restart": self.restart,
            "max_open": self.max_open,
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("start", "end", "restart", "max_open")
        return cls(
            start=tuple(map(SpanSide.read, parts["start"])),
            end=tuple(map(SpanSide.read, parts["end"])),
            restart=parts["restart"].flag(),
            max_open=parts["max_open"].integer(0, _U32),
        )


#: The aggregates, and the parameters of those that have some, each with its bounds.
AGGREGATES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "count": {},
    "sum": {},
    "min": {},
    "max": {},
    "avg": {},
    "stats": {},
    "hist": {},
    "lhist": {"low": (_I64_MIN, _I64_MAX), "high": (_I64_MIN, _I64_MAX), "step": (1, _U64)},
    "quantiles": {},
    "top": {"size": (1, _U32)},
    "distinct": {},
}


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """What is accumulated: one of `AGGREGATES`, with its parameters."""

    kind: str = "count"
    parameters: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **dict(self.parameters)}

    @classmethod
    def read(cls, reader: Reader) -> Self:
        kind = reader.member("kind").choice(*AGGREGATES)
        parts = reader.members("kind", *AGGREGATES[kind])
        return cls(kind, tuple((name, parts[name].integer(*bounds)) for name, bounds in AGGREGATES[kind].items()))


COUNT = AggregateFunction()


@dataclass(frozen=True, slots=True)
class AggregateSpec:
    """Something accumulated over a probe's events, by a key of any number of values (none: a single cell)."""

    function: AggregateFunction = COUNT
    by: tuple[ValueNode, ...] = ()
    #: Of what; None for a count.
    value: ValueNode | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "function": self.function.to_json(),
            "value": None if self.value is None else self.value.to_json(),
            "by": [part.to_json() for part in self.by],
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        parts = reader.members("function", "by", optional=("value",))
        return cls(
            AggregateFunction.read(parts["function"]),
            tuple(read_value(part) for part in parts["by"]),
            None if parts["value"].absent else read_value(parts["value"]),
        )


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe: its targets, what it captures, and what is counted on it."""

    #: Unique within the session.
    name: str
    #: What it is attached to; more than one makes a group. A span has none.
    targets: tuple[Target, ...]
    #: What an event carries, in this order; None for every field of the target's own.
    capture: tuple[NamedExpr, ...] | None = ()
    #: The condition under which the probe fires.
    condition: ConditionNode | None = None
    #: Of the hits that the target and `condition` let through, each CPU takes every one of this number.
    sample: int = 1
    #: What is counted on it.
    aggregates: tuple[AggregateSpec, ...] = ()
    #: Whether events are wanted, or only the aggregates.
    deliver: bool = True
    #: The script's file and line, for error messages.
    declared_at: str | None = None
    #: What it pairs, if it is a span.
    span: SpanSpec | None = None
    #: How its functions are attached: one of `ATTACH`.
    attach: str = "auto"

    def to_json(self) -> dict[str, Any]:
        if self.capture is None:
            capture: dict[str, Any] = {"kind": "all"}
        else:
            capture = {"kind": "fields", "fields": [named.to_json() for named in self.capture]}
        return {
            "name": self.name,
            "declared_at": self.declared_at,
            "targets": [target.to_json() for target in self.targets],
            "span": None if self.span is None else self.span.to_json(),
            "attach": self.attach,
            "capture": capture,
            "where": None if self.condition is None else self.condition.to_json(),
            "sample": self.sample,
            "aggregates": [aggregate.to_json() for aggregate in self.aggregates],
            "deliver": self.deliver,
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        optional = ("where", "declared_at", "span", "attach", "sample")
        parts = reader.members("name", "targets", "capture", "aggregates", "deliver", optional=optional)
        where, declared_at, span, attach = parts["where"], parts["declared_at"], parts["span"], parts["attach"]
        return cls(
            name=parts["name"].text(),
            targets=tuple(map(_read_target, parts["targets"])),
            span=None if span.absent else SpanSpec.read(span),
            attach="auto" if attach.absent else attach.choice(*ATTACH),
            capture=_read_capture(parts["capture"]),
            condition=None if where.absent else read_condition(where),
            sample=1 if parts["sample"].absent else parts["sample"].integer(0, _U64),
            aggregates=tuple(map(AggregateSpec.read, parts["aggregates"])),
            deliver=parts["deliver"].flag(),
            declared_at=None if declared_at.absent else declared_at.text(),
        )


def _read_capture(reader: Reader) -> tuple[NamedExpr, ...] | None:
    if reader.member("kind").choice("fields", "all") == "all":
        reader.members("kind")
        return None
    return tuple(map(NamedExpr.read, reader.members("kind", "fields")["fields"]))


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """Everything that a session was asked to do."""

    #: The probes, in the order declared; a probe's index is its identity within the session.
    probes: tuple[ProbeSpec, ...] = ()
    #: Which processes are seen.
    target: TargetFilter = field(default_factory=TargetFilter)
    #: Sizes, all of them.
    limits: Limits = field(default_factory=Limits)
    version: int = VERSION

    def rows(self, probe: ProbeSpec) -> list[str]:
        """What the ledger has a row for.

        Those are a probe's targets, and the entries of returns that want something of them; of a span each target of
        its ends, then of its starts.
        """
        if probe.span is None:
            spellings = [target.spelling for target in probe.targets]
            has_entries = any(isinstance(target, FunctionReturn) for target in probe.targets)
            return spellings + [f"the entry for {spelling}" for spelling in spellings if has_entries]
        sides = [("end", side) for side in probe.span.end] + [("start", side) for side in probe.span.start]
        paired = [(word, self.probes[side.probe]) for word, side in sides]
        return [f"{word} {target.spelling} ({other.name})" for word, other in paired for target in other.targets]

    def to_json(self) -> str:
        """The JSON text that `_native.Engine.bpf` and `_native.verify_spec` take."""
        # Imported when a session starts, for `import spile` is often all that a script pays for.
        import json

        form = {
            "version": self.version,
            "target": self.target.to_json(),
            "limits": self.limits.to_json(),
            "probes": [probe.to_json() for probe in self.probes],
        }
        return json.dumps(form, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads what `to_json` wrote. Raises SpecError, whose `path` leads to what is missing, unknown or ill-typed."""
        import json

        try:
            form = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"the spec is not JSON: {error}") from None
        root = Reader(form)
        version = root.member("version")
        if version.integer(0, _U32) != VERSION:
            version.refuse(f"the spec has version {version.value}, and this release reads version {VERSION}")
        parts = root.members("version", "target", "limits", "probes")
        return cls(
            probes=tuple(map(ProbeSpec.read, parts["probes"])),
            target=TargetFilter.read(parts["target"]),
            limits=Limits.read(parts["limits"]),
        )

"""The extension module: adapters between the Rust crates and Python. `spile` is its public face."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Self, final, overload

import pandas
import polars
import pyarrow
from typing_extensions import disjoint_base

__version__: str
__all__ = [
    "Batch",
    "Columns",
    "Dispatcher",
    "Engine",
    "Event",
    "Frame",
    "NativeTable",
    "Recording",
    "Stack",
    "__version__",
    "bin_bounds",
    "bin_number",
    "doctor",
    "estimate_distinct",
    "flamegraph",
    "list_probes",
    "merge_distinct",
    "merge_top",
    "nearest",
    "probe_fields",
    "restore_event",
    "restore_stack",
    "spec_schema",
    "symbolize",
    "verify_spec",
]

@disjoint_base
class Event(Mapping[str, Any]):
    """One event: a view of its batch, immutable, valid for ever.

    ``event["x"]`` is a captured field and nothing else. Attributes are the header first (`id`, `probe`, `time`, `cpu`,
    `datetime`), then the fields. ``==`` compares probe, time, cpu and fields, with a mapping the fields only. It has no
    hash.
    Subclass it to type a capture: ``class Open(Event): pid = spile.pid``. Made by hand, as
    ``Event("openat", {"pid": 1}, time=5)``, it is what a handler's test needs.
    """

    def __new__(
        cls,
        source: str | Event,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        id: int = 0,
        time: int = 0,
        cpu: int = 0,
    ) -> Self: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    @property
    def id(self) -> int:
        """The number of its kind of event within the session, from 1."""
    @property
    def probe(self) -> str:
        """The name of its probe; in a group, of the group."""
    @property
    def time(self) -> int:
        """CLOCK_MONOTONIC, nanoseconds."""
    @property
    def cpu(self) -> int:
        """The CPU that it happened on."""
    @property
    def datetime(self) -> datetime:
        """The time of day, in the local zone."""
    def __getitem__(self, name: str, /) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def get(self, key: object, default: Any = None, /) -> Any: ...
    def __getattribute__(self, name: str, /) -> Any: ...

@final
class Frame:
    """One frame of a stack. `symbol`, `offset`, `module`, `file` and `line` are looked up when they are first read."""

    @property
    def address(self) -> int: ...
    @property
    def symbol(self) -> str | None:
        """The function's name, demangled; None where there is none."""
    @property
    def offset(self) -> int | None:
        """Bytes from the function's start."""
    @property
    def module(self) -> str | None:
        """The kernel module, or None for the kernel itself."""

@final
class Stack(Sequence[Frame]):
    """A stack of return addresses, innermost first. Equal and hashable by content. `str()` is one frame a line."""

    @property
    def addresses(self) -> tuple[int, ...]:
        """The frames' addresses; empty while the stack's definition is pending."""
    @property
    def space(self) -> str:
        """``"kernel"`` or ``"user"``."""
    @property
    def pid(self) -> int:
        """The process whose address space a user stack belongs to; 0 for a kernel stack."""
    @property
    def id(self) -> int:
        """The content's 64-bit hash."""
    @overload
    def __getitem__(self, index: int, /) -> Frame: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[Frame]: ...
    def __len__(self) -> int: ...
    def folded(self) -> str:
        """Symbols from the outermost, joined by ``;``, as flame graphs want them."""

@final
class Batch(Sequence[Event]):
    """Events in the order of time, over one shared buffer."""

    @overload
    def __getitem__(self, index: int, /) -> Event: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Event]: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes of the shared buffer."""
    def by_probe(self) -> dict[str, Columns]:
        """The events' columns, one table for each kind of event, by the kind's name."""
    def columns(self) -> Columns:
        """The columns of a batch whose events are all of one kind. Raises ValueError for another."""

@final
class Columns(Mapping[str, list[Any]]):
    """Columns of one schema: the fields by name, converted when they are asked for; times and cpus beside them.

    ``columns["pid"]`` is a list of Python's objects, ``columns.buffer("pid")`` an array that nothing was made for:
    ``numpy.asarray`` and ``pyarrow.py_buffer`` take it without a copy. Whoever speaks Arrow's PyCapsule interface has
    all of it, also as a data frame (`to_polars`, `to_pandas`, `to_arrow`): ``time`` (uint64, ns) and ``cpu`` (uint16),
    integers in their own size, strings as UTF-8 (U+FFFD for what isn't), names as a dictionary, stacks as
    lists of addresses (uint64, innermost first); null for what could not be read.
    """

    @property
    def time(self) -> list[int]: ...
    @property
    def cpu(self) -> list[int]: ...
    def __getitem__(self, name: str, /) -> list[Any]: ...
    def __iter__(self) -> Iterator[str]: ...
    def get(self, key: object, default: Any = None, /) -> Any: ...
    def buffer(self, name: str) -> memoryview:
        """A column of integers, or ``"time"`` (u64, ns) or ``"cpu"`` (u16), as a read-only array in their own size.

        What could not be read is 0; `valid` tells. Raises KeyError for a name that isn't there, TypeError for a column
        of strings, names or stacks.
        """
    def valid(self, name: str) -> memoryview | None:
        """For each of a column's integers whether it could be read; None where all could. Raises as `buffer` does."""
    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table`, without a copy. Raises ImportError without pyarrow."""
    def to_polars(self) -> polars.DataFrame:
        """A `polars.DataFrame`, without a copy. Raises ImportError without polars."""
    def to_pandas(self) -> pandas.DataFrame:
        """A `pandas.DataFrame`. Raises ImportError without pandas and pyarrow."""
    def __arrow_c_schema__(self) -> object:
        """The columns' names and types, for whoever speaks Arrow's PyCapsule interface."""
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """All columns, as an array of structures. A wish for other types is left to whoever has it."""
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The same, as a stream of one batch."""
    def __len__(self) -> int:
        """The number of columns."""

@final
class Dispatcher:
    """Calls handlers for the events of a batch, without Python in between.

    `plans` maps an event id to its handlers in order. A handler is a callable and its arguments, each of which is
    an `int` (the index of a field), one of ``"event" "id" "probe" "time" "cpu"``, or a 1-tuple whose item is passed.
    """

    def __new__(
        cls, plans: Mapping[int, Sequence[tuple[Callable[..., Any], Sequence[int | str | tuple[Any]]]]]
    ) -> Self: ...
    def dispatch(self, batch: Batch, start: int = 0, limit: int | None = None) -> int:
        """Calls the handlers of the events from `start`, at most `limit` events; gives the index after the last one.

        A handler's exception propagates. Pending signals are looked at now and then.
        """
    def handles(self, event_id: int) -> bool: ...

@final
class NativeTable:
    """An aggregate's table in Rust. A key is a tuple of int, str and Stack, empty without `by`.

    What was accumulated under it is, by the aggregate's function, a plain

    * ``count``, ``sum``, ``min``, ``max``: int;
    * ``avg``: (hits, sum);
    * ``stats``: (hits, sum, least, greatest);
    * ``hist``, ``lhist``, ``quantiles``: a dict of hits by bin, in the order of bins (see `bin_bounds`);
    * ``top``: (hits, [(value, hits, error), …]), most frequent first: a value occurred `hits` times at most, and
      `error` less at least;
    * ``distinct``: bytes, a rank for each of 4096 registers (see `estimate_distinct`).
    """

    @property
    def total(self) -> int:
        """Events that are in it, since the start, those taken included."""
    @property
    def faulted(self) -> int:
        """Events that are not, for a part of their key or their value could not be read."""
    def __len__(self) -> int: ...
    def get(self, key: tuple[Any, ...], /) -> Any: ...
    def items(self) -> list[tuple[tuple[Any, ...], Any]]:
        """One consistent view."""
    def top(self, n: int) -> list[tuple[tuple[Any, ...], Any]]:
        """The `n` keys of which there is most, those first.

        Most is the greatest number, sum, mean or value; of `stats` the sum counts, of histograms and lists the hits, of
        `distinct` the estimate.
        """
    def take(self) -> list[tuple[tuple[Any, ...], Any]]:
        """Reads and resets, atomically."""

@final
class Engine:
    """A session's engine. Made, it has verified, resolved, compiled and loaded; it attaches when it is started."""

    @staticmethod
    def bpf(spec: str, classes: Sequence[type[Event] | None] | None = None) -> Engine:
        """The embedded engine, from a spec's JSON. `classes` are, by probe, the classes of their events.

        Raises SpecError, ProbeNotFound, FieldNotFound, Unsupported, PrivilegeError or EngineError; where several probes
        are wrong, one error names them all.
        """
    @staticmethod
    def stream(spec: str, schemas: str, data: bytes, classes: Sequence[type[Event] | None] | None = None) -> Engine:
        """Decodes a packed (`%b`) stream. `schemas` is a JSON list of event schemas."""
    @staticmethod
    def systemtap(
        spec: str,
        schemas: str,
        descriptors: Sequence[int],
        bulk: bool = False,
        classes: Sequence[type[Event] | None] | None = None,
    ) -> Engine:
        """Decodes what a generated script writes: a pipe or a file, or with `bulk` one file for each CPU.

        The descriptors are duplicated: the caller may close theirs. Nobody else may read from them meanwhile. Raises
        EngineError for one that is none. `stop` reads what has been written until then and no more.
        """
    @staticmethod
    def replay(
        recording: Recording,
        spec: str,
        unread: Sequence[int],
        classes: Sequence[type[Event] | None] | None = None,
    ) -> Engine:
        """Gives a recording's events again; of `spec` the aggregates may differ from its own.

        `unread` are the probes, by index, whose events nobody wants; they are counted. Raises SpecError for other
        probes, FieldNotFound for a key that was not recorded.
        """
    def record(self, descriptor: int, path: str, compress: bool, unread: Sequence[int]) -> None:
        """Lets it record into an empty file from its start on; the descriptor is duplicated, `path` is for messages.

        `unread` are the probes, by index, whose events are recorded only. Raises Unsupported for other engines than the
        embedded one, RecordingError where nothing can be written.
        """
    @property
    def replays(self) -> bool:
        """Whether its events are those of a recording."""
    @property
    def ready(self) -> bool:
        """Whether the script has said that its probes are attached."""
    @property
    def told(self) -> int:
        """How often the script has told the numbers of all its events."""
    @property
    def complete(self) -> bool:
        """Whether the script has said that it came to its end. If the stream ended without that, it was cut short."""
    def stream_numbers(self) -> dict[str, int]:
        """Of a script's stream; empty for other engines.

        `bytes` and `frames` read, `gaps` and the bytes `skipped` in them, places that looked like a frame and were
        `corrupt`; with `bulk` numbered prints that are `missing`; `rows_missing` of the script's tables.
        """
    def start(self) -> None:
        """Attaches everything, then opens the gate; a thread drains from now on."""
    def stop(self) -> None:
        """Closes the gate, waits for what runs, drains, detaches, reads the ledger. A second call does nothing."""
    @property
    def ended(self) -> bool:
        """Whether the source has ended (a stopped engine, or the end of a stream) and the queue is empty."""
    def next_batch(self, timeout: float | None = None) -> Batch | None:
        """The next batch; None when `timeout` seconds went by, or nothing can come any more."""
    def wake(self) -> None:
        """Lets a waiting `next_batch` return, from any thread."""
    def fileno(self) -> int:
        """A descriptor that is readable while a batch waits, or nothing can come any more; not to be read from."""
    def drain(self) -> None:
        """Waits until everything that had happened when it was called is in the tables and the queue."""
    def losses(self) -> list[dict[str, Any]]:
        """The ledger: a row for each target, with `probe`, `target` and the counts."""
    def beyond(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """What was lost of which no single probe is known, by name, and what a replay says of its recording's end."""
    def events(self) -> list[dict[str, Any]]:
        """The kinds of event: `id`, `probe` and `target` (indexes), `name`, `fields` (names and types, in order)."""
    def explain(self, code: bool) -> str:
        """What was made of the spec; with `code` the intermediate form and the bytecode of each program too."""
    def table(self, probe: int, aggregate: int) -> NativeTable: ...
    def add_pid(self, pid: int) -> None:
        """Lets one more process through the target filter."""
    @property
    def lost_children(self) -> int:
        """Children of followed processes that found no room in the filter: their events are missing."""
    def steps(self) -> list[tuple[int, str, int, bool, float]]:
        """What was left out for the budget, step by step: the fields of `spile.budget.Step`."""
    @property
    def stack_collisions(self) -> int:
        """Stacks that could not be told from another by their hash; 0 but for a miracle."""

@final
class Recording:
    """A recording's file, opened and looked over."""

    def __new__(cls, path: str) -> Self:
        """Raises OSError, or RecordingError for what can't be replayed at all."""
    @property
    def spec(self) -> str:
        """The description, as JSON."""
    def fields(self, probe: int) -> list[str]:
        """The names of what a probe captured."""
    def facts(self) -> dict[str, Any]:
        """What it says of itself.

        `spile` (the release), `machine` and `mappings` (JSON), `begun` and `ended` (CLOCK_MONOTONIC and CLOCK_REALTIME,
        nanoseconds; None where it was not closed), `events`, `length` (bytes), `symbols` (their number), `warnings`.
        """

def restore_event(
    cls: type[Event], probe: str, fields: dict[str, Any], id: int, time: int, cpu: int, wall_offset: int, /
) -> Event:
    """For `pickle`."""

def restore_stack(
    space: str,
    pid: int,
    id: int,
    addresses: Sequence[int],
    names: Sequence[tuple[str, int, str | None] | None] | None = None,
    /,
) -> Stack:
    """For `pickle`."""

def bin_bounds(kind: str, bin: int, low: int = 0, high: int = 0, step: int = 1) -> tuple[int, int]:
    """The least and the greatest value of a bin, of all 64-bit numbers, signed or not.

    `kind` is ``"hist"``, ``"lhist"`` or ``"quantiles"``; `low`, `high` and `step` are those of ``"lhist"``, whose outer
    bins are open. Raises ValueError for what has no bins.
    """

def bin_number(kind: str, value: int, low: int = 0, high: int = 0, step: int = 1) -> int:
    """The bin of a value; see `bin_bounds`."""

def estimate_distinct(registers: bytes) -> float:
    """How many different values the registers of ``distinct`` have seen; the standard error is 1.6 %."""

def merge_distinct(one: bytes, other: bytes) -> bytes:
    """The registers of the union of two sets. Raises ValueError for what is not 4096 bytes."""

def merge_top(
    size: int, one: tuple[int, list[tuple[Any, int, int]]], other: tuple[int, list[tuple[Any, int, int]]]
) -> tuple[int, list[tuple[Any, int, int]]]:
    """The list of two lists' events, of `size` values at most, as `NativeTable` has them; values must be hashable.

    Its bounds hold: a value that only one of them has may be in the other as often as the last one there.
    """

def nearest(word: str, choices: Sequence[str]) -> list[str]:
    """The choices that are most like `word`, best first, at most three."""

def list_probes(pattern: str = "*") -> list[tuple[str, str]]:
    """Kind and name of every probe that matches the shell pattern, as ``("tracepoint", "sched:sched_switch")``."""

def probe_fields(kind: str, name: str) -> list[tuple[str, str]]:
    """Name and type of each of the probe's own fields."""

def doctor() -> list[dict[str, Any]]:
    """What this machine can do: `feature`, `works` (a bool), `detail`, `cost` (what is lost without it)."""

def symbolize(addresses: Sequence[int]) -> list[str]:
    """Kernel addresses as ``symbol+0x12 [module]``."""

def flamegraph(folded: Sequence[tuple[str, int]], title: str, count_name: str = "events") -> str:
    """An SVG from folded stacks and their counts."""

def spec_schema() -> str:
    """The JSON schema of the spec."""

def verify_spec(spec: str) -> None:
    """Raises SpecError, with the path, for a spec that no engine would take. Touches no kernel."""

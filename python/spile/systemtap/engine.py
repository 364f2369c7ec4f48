"""A session's engine that is a SystemTap script.

In: a spec. Out: what `_native.Engine` has: events, tables, losses. The script is made when the engine is; `stap` runs
from `start` to `stop`, and Rust reads what it writes. What stap says on the way becomes errors and numbers here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import _native
from ..errors import EngineError, Unsupported
from ..expr.stack import StackTrace
from ..spec import Function, FunctionReturn
from .bulk import BulkPipes
from .command import Needs, StapCommand, run_command
from .command import Target as StapTarget
from .options import StapOptions
from .process import StapProcess
from .programs import programs
from .script import Script, generate

if TYPE_CHECKING:
    from .._native import Batch, NativeTable
    from ..command import Command
    from ..spec import SessionSpec, Target

#: Seconds between two looks at whether the probes are attached.
_PAUSE = 0.01
_CUT = "the script's last words did not arrive: what it counted since it told its numbers last is not known"
#: Seconds that what a script elsewhere sends may be under way.
_ON_THE_WAY = 5.0


class SystemtapEngine:
    """One script: made, run, read."""

    def __init__(
        self,
        spec: SessionSpec,
        classes: Sequence[type[Any] | None] | None,
        options: StapOptions,
        interval: float,
        command: Command | None = None,
    ) -> None:
        """`command` is what is traced, if it is no running process.

        Raises Unsupported for what SystemTap has no words for, SpecError for what its language can't write.
        """
        self.options = options
        self._spec = spec
        self._interval = interval
        self.script: Script = made(spec, options, interval, command)
        self._process: StapProcess | None = None
        self._bulk = BulkPipes() if options.bulk else None
        # The readers' descriptors are the decoder's from now on; the writer's is stap's from the start on.
        if self._bulk is not None:
            readers, self._writer = self._bulk.descriptors, os.open(os.devnull, os.O_WRONLY)
        else:
            reader, self._writer = os.pipe()
            readers = [reader]
        try:
            self._native = _native.Engine.systemtap(
                spec.to_json(), self.script.schemas, readers, options.bulk, classes=list(classes) if classes else None
            )
        except BaseException:
            self._close_writers()
            raise
        finally:
            while readers:
                os.close(readers.pop())

    def __del__(self) -> None:
        self._close_writers()

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Compiles the script, runs it, and waits until its probes are attached.

        Raises what stap's messages mean: ProbeNotFound, FieldNotFound, Unsupported, PrivilegeError, EngineError.
        """
        try:
            self._process = self._launched()
            self._native.start()
            self._wait_until_ready(self._process)
        except BaseException:
            self._abort()
            raise

    def _launched(self) -> StapProcess:
        try:
            return StapProcess.start(
                self.script.text,
                self.options,
                needs(self.script, self.options),
                target=StapTarget(pid=self.script.target),
                stdout=self._writer,
                output=None if self._bulk is None else self._bulk.output,
                declared=self.script.declared,
            )
        finally:
            self._close_writer()

    def _close_writer(self) -> None:
        # Held by stap alone, or the stream's end would never come.
        writer, self._writer = getattr(self, "_writer", -1), -1
        if writer >= 0:
            os.close(writer)

    def _close_writers(self) -> None:
        self._close_writer()
        if (bulk := getattr(self, "_bulk", None)) is not None:
            bulk.close()

    def _wait_until_ready(self, process: StapProcess) -> None:
        while not self._native.ready:
            if process.poll() is not None:
                raise process.error() or EngineError("stap ended before its probes were attached", process.log)
            if self._bulk is not None:
                self._bulk.check()
            time.sleep(_PAUSE)
        process.ready()
        if self._bulk is not None:
            self._bulk.close()

    def _abort(self) -> None:
        if self._process is not None:
            self._process.close()
        self._native.stop()
        self._close_writers()

    def stop(self) -> None:
        """Ends the script, reads what it still writes. Raises what made stap end by itself, if something did."""
        process = self._process
        if process is None:
            self._native.stop()
            return
        try:
            if self.options.remote is not None:
                self._hear_out(process)
            process.stop()
        finally:
            self._native.stop()
            process.close()
        error = process.error()
        if error is not None:
            raise error

    def _hear_out(self, process: StapProcess) -> None:
        """Waits until a script elsewhere has sent what it holds by now, for nothing of it arrives after its end.

        The second telling of its numbers from now on comes after a dump of its tables that began in between.
        """
        wanted, until = self._native.told + 2, time.monotonic() + 2 * self._interval + _ON_THE_WAY
        while self._native.told < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(_PAUSE)

    # What Rust decodes ------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether no event can come any more."""
        return self._native.ended

    @property
    def stack_collisions(self) -> int:
        """Content hashes that stood for two sets of frames."""
        return self._native.stack_collisions

    def next_batch(self, timeout: float | None = None) -> Batch | None:
        """The next events, if some come in time."""
        return self._native.next_batch(timeout)

    def wake(self) -> None:
        """Ends waits."""
        self._native.wake()

    def fileno(self) -> int:
        """A descriptor that is readable while events wait."""
        return self._native.fileno()

    def drain(self) -> None:
        """Waits until what has been written so far is in the tables, as far as the script has sent it."""
        self._native.drain()

    def events(self) -> list[dict[str, Any]]:
        """The kinds of events that can come."""
        return self._native.events()

    def table(self, probe: int, aggregate: int) -> NativeTable:
        """What is counted."""
        return self._native.table(probe, aggregate)

    def losses(self) -> list[dict[str, Any]]:
        """The ledger's rows."""
        rows = self._native.losses()
        for row, missed in self._missed(rows):
            row["missed"] += missed
            row["hits"] += missed
        return rows

    def _missed(self, rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
        """Hits that the kernel missed, where stap says whose they are, and only one probe stands there."""
        told = {} if self._process is None else self._process.losses().missed
        at: dict[tuple[str, bool], list[dict[str, Any]]] = {}
        for row in rows:
            # A span has none of its own.
            for target in self._spec.probes[row["probe"]].targets[row["target"] :][:1]:
                if isinstance(target, Function):
                    at.setdefault((target.name, isinstance(target, FunctionReturn)), []).append(row)
        found = [(at.get(place, []), count) for place, count in told.items()]
        return [(only[0], count) for only, count in found if len(only) == 1]

    def steps(self) -> list[tuple[int, str, int, bool, float]]:
        """None: a script has no budget."""
        return []

    def beyond(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """What was lost of which no single probe is known, by stap's last words and the stream's gaps; and warnings."""
        told, warnings = self._native.beyond()
        if self._process is None:
            return told, warnings
        said = self._process.losses()
        skipped = said.skipped - sum(count for _, count in self._missed(self._native.losses()))
        told |= {"transport_failures": said.transport, "skipped_hits": skipped, "failed_handlers": said.errors}
        return told, (*warnings, *self._process.warnings(), *self._cut())

    def _cut(self) -> tuple[str, ...]:
        """A warning where the script ended well and its end did not arrive.

        stapio 4.8 leaves the last words unread where they come between its look for them and its look whether it is to
        stop. Elsewhere they never arrive; of one that was killed something else is said.
        """
        ended = None if self._process is None else self._process.poll()
        if ended is None or ended.killed or ended.returncode != 0 or self._native.complete:
            return ()
        return () if self.options.remote is not None else (_CUT,)

    def explain(self, code: bool, /) -> str:
        """Where aggregates are kept, the command line, and with `code` the script."""
        kept = "".join(f"# {line}\n" for line in self.script.kept)
        return f"{kept}# {command(self.script, self.options)}\n{self.script.text if code else ''}"

    @property
    def lost_children(self) -> int:
        """SystemTap's array of followed processes ends a script when it is full; it leaves nobody out."""
        return 0


def made(spec: SessionSpec, options: StapOptions, interval: float, command: Command | None = None) -> Script:
    """A spec's script, with the limits that the options set. `command` is what is traced, if it runs not yet."""
    if options.remote is not None:
        refuse_stacks(spec)
    is_here = options.remote is None and options.kernel is None
    more = {} if options.max_map_entries is None else {"entries": options.max_map_entries}
    known = _arguments if is_here else None
    walked = programs(options, spec.target.pid, None if command is None else command.look_up())
    return generate(spec, interval=interval, debuginfo=options.dwarf, arguments=known, programs=walked, **more)


def _arguments(target: Target) -> list[str]:
    """The names of what a target is called with, by this kernel's BTF."""
    named = [name for name, _ in _native.probe_fields(target.kind, target.spelling.partition(":")[2])]
    # A return has what it returns too, which is no field.
    return [name for name in named if not (isinstance(target, FunctionReturn) and name == "ret")]


def refuse_stacks(spec: SessionSpec) -> None:
    """Refuses stacks where their addresses are another kernel's: they would get the names of this one."""
    for probe in spec.probes:
        asked = [named.expr for named in probe.capture or ()]
        for each in probe.aggregates:
            asked += [*each.by, *([] if each.value is None else [each.value])]
        if any(isinstance(part, StackTrace) for node in asked for part in node.walk()):
            raise Unsupported(
                f"probe {probe.name!r}: stacks with remote=: their addresses would be named by this machine's "
                "symbols; run the session there, or count without stacks"
            )


def command(script: Script, options: StapOptions) -> StapCommand:
    """What `SystemtapEngine` would run; in bulk mode with files of that name in the working folder."""
    output = "cpu" if options.bulk else None
    return run_command(options, needs(script, options), target=StapTarget(pid=script.target), output=output)


def needs(script: Script, options: StapOptions) -> Needs:
    """What the script needs of its stap. The tracer's process differs from run to run; elsewhere it is nobody's."""
    is_here = script.tracer is not None and options.remote is None
    values = {str(script.tracer): os.getpid()} if is_here else {}
    # The libraries of programs, too: a stack goes through them.
    return Needs(dict(script.definitions), script.buffer, script.unwind, ldd=bool(script.unwind), values=values)

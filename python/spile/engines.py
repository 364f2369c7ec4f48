"""Which engine runs a session. In: its name, and a spec. Out: the engine, with everything attached that can be undone.

Here and nowhere else an engine is chosen: what comes after knows one shape, `Engine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .errors import Error, PrivilegeError, SpecError, Unsupported
from .near import alternatives, tracepoints_like
from .spec import Function

if TYPE_CHECKING:
    from ._native import Batch, NativeTable
    from .command import Command
    from .spec import SessionSpec
    from .systemtap.options import StapOptions

NAMES = ("auto", "bpf", "systemtap")


class Engine(Protocol):
    """What runs a session: `_native.Engine`, which has the documentation, or what stands around one."""

    @property
    def ended(self) -> bool: ...
    @property
    def stack_collisions(self) -> int: ...
    @property
    def lost_children(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def next_batch(self, timeout: float | None = None) -> Batch | None: ...
    def wake(self) -> None: ...
    def fileno(self) -> int: ...
    def drain(self) -> None: ...
    def losses(self) -> list[dict[str, Any]]: ...
    def beyond(self) -> tuple[Mapping[str, int], tuple[str, ...]]: ...
    def events(self) -> list[dict[str, Any]]: ...
    def table(self, probe: int, aggregate: int) -> NativeTable: ...
    def steps(self) -> list[tuple[int, str, int, bool, float]]: ...
    def explain(self, code: bool, /) -> str: ...


@dataclass(frozen=True)
class Choice:
    """An engine by name, and what it is told besides the spec."""

    name: str
    #: Seconds between two dumps of the kernel's tables.
    interval: float
    #: For `systemtap` alone.
    systemtap: StapOptions | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise SpecError(f"there is no engine {self.name!r}{alternatives(self.name, NAMES)}", "engine")
        if self.systemtap is not None and self.name != "systemtap":
            raise SpecError(
                f"systemtap= is for engine='systemtap', and this session's engine is {self.name!r}", "systemtap"
            )

    def make(self, spec: SessionSpec, classes: Sequence[type[Any] | None], command: Command | None = None) -> Engine:
        """The engine, ready to start; `classes` are those of each probe's events, `command` is what is traced."""
        listed = list(classes) if any(classes) else None
        if self.name == "systemtap":
            from .systemtap.engine import SystemtapEngine

            return SystemtapEngine(spec, listed, self.options, self.interval, command)
        from . import _native

        try:
            return _native.Engine.bpf(spec.to_json(), listed)
        except (Unsupported, PrivilegeError) as error:
            _name_what_works(error, spec)
            raise

    def check_target(self, command: Any, pid: int | None, cgroup: Any) -> None:
        """Refuses a target of this machine for a script that runs on another one."""
        if self.systemtap is None or self.systemtap.remote is None:
            return
        for name, value in (("command", command), ("pid", pid)):
            if value is not None:
                raise SpecError(
                    f"{name}= is of this machine, and with remote= the script runs on another: leave it out, and "
                    "filter there, such as by where=comm == '…'",
                    f"target.{name}",
                )
        if cgroup is not None and not isinstance(cgroup, int):
            raise SpecError(f"cgroup={cgroup!r} would be looked up on this machine: give its id there", "target.cgroup")

    @property
    def options(self) -> StapOptions:
        """How stap is run."""
        from .systemtap.options import StapOptions

        return self.systemtap or StapOptions()


def _name_what_works(error: Error, spec: SessionSpec) -> None:
    """Where functions can't be probed, adds the tracepoints that are most like them."""
    targets = [target for probe in spec.probes for target in probe.targets]
    functions = [target.name for target in targets if isinstance(target, Function)]
    # Of a pattern's many matches the first tell enough.
    if functions and any(function in error.message for function in functions):
        error.message += tracepoints_like(functions[:8])

"""Recordings, replayed: a session whose events come from a file.

In: a recording's path. Out: a `Session` with the probes that were recorded, to be handled, iterated and counted as if
it ran now; nothing is traced, and no privilege is needed. What a probe did not capture can't be counted by later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from . import _native
from . import targets as targeting
from .errors import FieldNotFound, StateError
from .expr.field import Field
from .expr.node import Node, ValueNode
from .expr.wrapper import Expr
from .places import Place
from .probe import Probe
from .session import Session
from .span import Pairing
from .spec import ProbeSpec, SessionSpec, SpanSide

if TYPE_CHECKING:
    from .engines import Engine


def replay(path: str | os.PathLike[str]) -> Session:
    """Opens a recording as a session that can be run, iterated over and counted, once, like any other.

        session = spile.replay("make.spile")
        by_name = session["openat"].count(by=spile.comm)
        session.run(handlers=module)

    Its probes are those that were recorded, by their names: ``session["openat"]``. They can be counted by what was
    captured, or counted by, when it was recorded; for anything else FieldNotFound says what there is. `losses` is the
    recorded ledger. Symbols are those of the machine and the time of the recording.

    A recording that was not closed (its tracer was killed, its disk was full) replays up to where it ends, and a
    LossWarning says where that is. Of a damaged one everything is replayed that can be read, and then RecordingError
    tells where the damage begins and what is lost.

    Raises OSError for a file that can't be opened, RecordingError for one that is no recording, is damaged in its
    beginning, or has a later version than this release reads.
    """
    return Replay(path)


class Replay(Session):
    """A session over a recording."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = os.fsdecode(path)
        self._opened = _native.Recording(self._path)
        self._recorded = SessionSpec.from_json(self._opened.spec)
        limits = self._recorded.limits
        self._buffer, self._stack_depth = limits.buffer, limits.stack_depth
        for index, spec in enumerate(self._recorded.probes):
            self._probes.append(_revived(self, spec, self._probes, self._opened.fields(index)))
            self._bases.append(spec.name)
        # Nobody need read what others recorded.
        self._wiring.may_leave = True

    def record(self, path: str | os.PathLike[str], *, compress: bool = True) -> None:
        """Refused: it is recorded already."""
        raise StateError(f"this session replays {self._path!r}: copy the file")

    def _declare(self, kind: str, target: Any, *_: Any, **__: Any) -> NoReturn:
        names = ", ".join(probe.name for probe in self._probes)
        raise StateError(f"a replay has the probes that were recorded, as session[name]: {names}")

    def _resolve(self, command_pid: int | None) -> SessionSpec:
        probes = [self._wanted(index, spec) for index, spec in enumerate(self._recorded.probes)]
        return replace(self._recorded, probes=tuple(probes), limits=replace(self._recorded.limits, queue=self._queue))

    def _wanted(self, index: int, recorded: ProbeSpec) -> ProbeSpec:
        return replace(recorded, aggregates=tuple(self._probes[index]._accumulated))

    def _is_read(self, index: int, spec: SessionSpec) -> bool:
        delivers = self._wiring.delivers(index)
        probe = self._probes[index]
        return spec.probes[index].deliver and (probe.captures_events if delivers is None else delivers)

    def _engine(self, spec: SessionSpec) -> Engine:
        classes = [probe.event_class for probe in self._probes]
        unread = [index for index in range(len(self._probes)) if not self._is_read(index, spec)]
        return _native.Engine.replay(self._opened, spec.to_json(), unread, classes if any(classes) else None)


@dataclass(frozen=True)
class RecordedPlace(Place):
    """A place where only what was recorded is known."""

    name: str = ""
    known: frozenset[Node] = frozenset()
    #: What ``capture="*"`` captured.
    fields: tuple[str, ...] = field(default=())

    def check(self, node: Node, path: str) -> None:
        """Raises FieldNotFound for what was not recorded."""
        if node in self.known or (isinstance(node, Field) and len(node.path) == 1 and node.path[0] in self.fields):
            return
        there = [known.spell() for known in sorted(self.known, key=lambda known: known.spell())]
        there += [f"arg.{name}" for name in self.fields]
        has = f"what was: {', '.join(there)}" if there else "nothing was captured"
        raise FieldNotFound(f"{node.spell()} was not recorded by probe {self.name!r}; {has} ({path})")


def _revived(session: Replay, spec: ProbeSpec, before: list[Probe[Any]], fields: list[str]) -> Probe[Any]:
    """The probe that was declared where it was recorded."""
    captured = None if spec.capture is None else {named.name: _expr(named.expr) for named in spec.capture}
    capture: Any = "*" if captured is None else captured
    if not spec.deliver:
        capture = None
    kind, target = _target(spec, before)
    probe: Probe[Any] = Probe(
        session, kind, target, capture=capture, name=spec.name, sample=spec.sample, declared_at=spec.declared_at
    )
    known: set[Node] = {part for one in spec.aggregates for part in (*one.by, one.value) if part is not None}
    known |= {named.expr for named in spec.capture or ()}
    own = tuple(fields) if spec.capture is None else ()
    probe._place = RecordedPlace(probe._place.targets, name=spec.name, known=frozenset(known), fields=own)
    return probe


def _target(spec: ProbeSpec, before: list[Probe[Any]]) -> tuple[str, Any]:
    if spec.span is not None:

        def sides(side: tuple[SpanSide, ...]) -> tuple[tuple[Probe[Any], ValueNode], ...]:
            return tuple((before[one.probe], one.key) for one in side)

        return "span", Pairing(sides(spec.span.start), sides(spec.span.end), spec.span.restart, spec.span.max_open)
    parsed = [targeting.parse_probe(target.spelling) for target in spec.targets]
    kind = parsed[0][0]
    return kind, parsed[0][1] if kind == "profile" else [target for _, target in parsed]


def _expr(node: ValueNode) -> Expr[Any]:
    return Expr(node)

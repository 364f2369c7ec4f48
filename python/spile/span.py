"""What a span pairs: the probes that start it and those that end it, each with its key.

In: what `Session.span` was given. Out: a `Pairing` of probes, checked, and the spec's form of it. The span's own
captures, condition and tables are a `Probe`'s, like any other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.literal import is_integer
from spile.expr.node import ValueNode
from spile.expr.wrapper import Condition, Expr
from spile.places import Moment, Place
from spile.spec import SpanSide, SpanSpec, Target

if TYPE_CHECKING:
    from spile.probe import Probe

    #: What starts or ends a span: a probe, or one with the key that it has there.
    Side: TypeAlias = Probe[Any] | tuple[Probe[Any], Expr[Any]]
    Sides: TypeAlias = Side | Sequence[Side]

#: The most starts that may be open at once.
MAX_OPEN = 1 << 20


@dataclass(frozen=True)
class Pairing:
    """Two sides: probes, and what tells one span from another there."""

    start: tuple[tuple[Probe[Any], ValueNode], ...]
    end: tuple[tuple[Probe[Any], ValueNode], ...]
    restart: bool
    max_open: int

    @classmethod
    def of(cls, session: Any, start: Any, end: Any, key: Any, restart: Any, max_open: Any) -> Pairing:
        """Reads the arguments of `Session.span`. Raises SpecError, whose path is the argument's name."""
        if not isinstance(restart, bool):
            raise SpecError(f"restart is True or False, not {operand.described(restart)}", "restart")
        if isinstance(max_open, bool) or not is_integer(max_open) or not 1 <= int(max_open) <= MAX_OPEN:
            raise SpecError(
                f"max_open is the number of starts that may be open at once, within 1 … {MAX_OPEN}, "
                f"not {operand.described(max_open)}",
                "max_open",
            )
        _key(key, "key")
        starts, ends = _sides(session, start, key, "start"), _sides(session, end, key, "end")
        return cls(starts, ends, restart, int(max_open))

    @property
    def place(self) -> Place:
        """Where the span's expressions are computed: at its end."""
        return Place(_targets(self.end), Moment.END, _targets(self.start))

    def spec(self, indexes: Mapping[int, int]) -> SpanSpec:
        """As the engine is told. `indexes` has the place of each probe in its session, by `id`."""

        def sides(side: tuple[tuple[Probe[Any], ValueNode], ...]) -> tuple[SpanSide, ...]:
            return tuple(SpanSide(indexes[id(probe)], key) for probe, key in side)

        return SpanSpec(sides(self.start), sides(self.end), self.restart, self.max_open)


def feeding(probes: Iterable[Probe[Any]]) -> set[int]:
    """The probes, by `id`, that spans among these are made of."""
    pairings = [probe.pairing for probe in probes if probe.pairing is not None]
    return {id(probe) for pairing in pairings for probe, _ in pairing.start + pairing.end}


def _targets(sides: tuple[tuple[Probe[Any], ValueNode], ...]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys(target for probe, _ in sides for target in probe.targets))


def _sides(session: Any, given: Any, key: Any, name: str) -> tuple[tuple[Probe[Any], ValueNode], ...]:
    is_list = isinstance(given, list) or (isinstance(given, tuple) and not _is_pair(given))
    if not is_list:
        return (_side(session, given, key, name),)
    if not given:
        raise SpecError(f"a span needs a probe for its {name}, and the list is empty", name)
    sides = tuple(_side(session, side, key, f"{name}[{index}]") for index, side in enumerate(given))
    for index, (probe, _) in enumerate(sides):
        if any(probe is other for other, _ in sides[:index]):
            raise SpecError(f"{probe.name} stands twice: a hit has one key there", f"{name}[{index}]")
    return sides


def _is_pair(given: tuple[Any, ...]) -> bool:
    """Whether it is (probe, key), as against several probes in a tuple."""
    from spile.probe import Probe

    return len(given) == 2 and isinstance(given[0], Probe) and not isinstance(given[1], Probe | tuple)


def _side(session: Any, given: Any, key: Any, path: str) -> tuple[Probe[Any], ValueNode]:
    from spile.probe import Probe

    probe, key = given if isinstance(given, tuple) and _is_pair(given) else (given, key)
    if not isinstance(probe, Probe):
        raise SpecError(
            f"a span pairs probes: {path} is a probe, (probe, its key), or a list of these, "
            f"not {operand.described(probe)}",
            path,
        )
    if probe.session is not session:
        raise SpecError(f"{probe.name} belongs to another session: a span pairs probes of its own", path)
    if probe.pairing is not None:
        raise SpecError(f"{probe.name} is a span itself: pair the probes that it is made of", path)
    if probe.sample > 1:
        raise SpecError(
            f"{probe.name} has sample={probe.sample}, which would take a start without its end: give it to the span",
            path,
        )
    node = _key(key, path)
    Place(probe.targets, Moment.KEY).check(node, path)
    return probe, node


def _key(key: Any, path: str) -> ValueNode:
    """What start and end have in common."""
    if not isinstance(key, Expr | Condition):
        remedy = "; several at once can't be a key" if isinstance(key, list | tuple) else ""
        raise SpecError(f"a key is a capture, such as task or arg.pid, not {operand.described(key)}{remedy}", path)
    try:
        operand.value(key, "key=")
        return operand.number(key, "key=")
    except SpecError as error:
        raise SpecError(error.message, path) from None

"""Spans: two probe points that make one event.

In: a span of the spec, the places of its starts and ends. Out: lines for the handlers of either. Arrays, keyed by what
start and end have in common, hold the time of the start and what is wanted of it; where they are full the oldest start
makes room. What becomes of each hit of either is a number of the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spile.expr.node import Kind, ValueNode
from spile.spec import SpanSpec
from spile.systemtap import expressions
from spile.systemtap.columns import value_text
from spile.systemtap.needs import Needs
from spile.systemtap.places import TIME, Place
from spile.systemtap.refusal import refuse
from spile.systemtap.text import Lines, block

#: Bytes of the kernel's memory that the strings of open starts may take.
_MEMORY = 32 << 20
_LEAST = 1024
#: What may become of a hit at a span's start, and at its end where that finds none; in the order that the reader wants.
FATES = ("unmatched", "opened", "already_open", "open_full", "overwritten", "filtered", "faulted")


@dataclass(slots=True)
class Saved:
    """What a span keeps of its starts: the values that its end wants, in the order in which it asks for them."""

    nodes: list[ValueNode] = field(default_factory=list)

    def index(self, node: ValueNode) -> int:
        """The place of a value."""
        if node not in self.nodes:
            self.nodes.append(node)
        return self.nodes.index(node)


@dataclass(slots=True)
class EndPlace(Place):
    """The end of a span: arguments are those of the probe that ends it."""

    #: A start, for the types of what it keeps.
    origin: Place = field(kw_only=True)
    saved_nodes: Saved = field(kw_only=True)
    #: The span's index.
    span: int = field(kw_only=True)

    def elapsed(self) -> str:
        """Nanoseconds since the start."""
        return f"{self.time} - since"

    def returned(self) -> str:
        """Only a function's return has it."""
        refuse("ret and error of a span, which has elapsed alone")

    def start(self) -> Place:
        """Where it begins."""
        return self.origin

    def saved(self, node: ValueNode, text: str) -> str:
        """A local variable: what the start's handler computed."""
        return f"s{self.span}_{self.saved_nodes.index(node)}"


@dataclass(frozen=True, slots=True)
class Spot:
    """One target of one side of a span: its place among them, ends first, and what may become of its hits there.

    Each fate is a global that counts. A hit is counted once; an overwritten start, beside the one that did it.
    """

    span: int
    index: int
    fates: tuple[str, ...]

    @classmethod
    def end(cls, span: int, index: int, *, is_filtered: bool) -> Spot:
        """Of an end: where it finds a start, the span's event tells what became of it."""
        return cls(span, index, ("unmatched", *(["filtered"] if is_filtered else []), "faulted"))

    @classmethod
    def start(cls, span: int, index: int, *, restart: bool, is_filtered: bool) -> Spot:
        """Of a start."""
        again = "overwritten" if restart else "already_open"
        return cls(span, index, ("opened", again, "open_full", *(["filtered"] if is_filtered else []), "faulted"))

    def name(self, fate: str) -> str:
        """What the script calls the number."""
        return f"{fate}_{self.span}_{self.index}"

    def met(self, fate: str) -> str:
        """A line that counts a hit."""
        return f"{self.name(fate)} <<< 1"

    def declared(self) -> str:
        """Globals."""
        return f"global {', '.join(self.name(fate) for fate in self.fates)}"


@dataclass(frozen=True, slots=True)
class Span:
    """A span, by its probe's index."""

    index: int
    spec: SpanSpec
    saved: Saved
    needs: Needs

    @property
    def room(self) -> int:
        """Open starts that the kernel keeps: fewer than was said where strings of theirs would take much memory."""
        strings = sum(node.kind is not Kind.INT and node.kind is not Kind.FIELD for node in self.saved.nodes)
        most = max(_LEAST, _MEMORY // (strings * self.needs.string)) if strings else self.spec.max_open
        return min(self.spec.max_open, most)

    def declared(self) -> list[str]:
        """Globals."""
        names = [f"starts_{self.index}", *self._arrays()]
        return [
            f"global {', '.join(f'{name}%[{self.room:d}]' for name in names)}",
            f"global open_{self.index}",
        ]

    def started(self, key: ValueNode, place: Place, spot: Spot) -> Lines:
        """Lines of a start's handler."""
        values = [f"s{self.index}_{index} = {value_text(node, place)}" for index, node in enumerate(self.saved.nodes)]
        kept = [f"starts_{self.index}[key] = {TIME}"]
        kept += [f"{array}[key] = s{self.index}_{index}" for index, array in enumerate(self._arrays())]
        if self.spec.restart:
            first = f"if ([key] in starts_{self.index}) {{ {spot.met('overwritten')}; {spot.met('opened')} }}"
            then: Lines = kept
        else:
            first = f"if ([key] in starts_{self.index}) {{ is_new = 0; {spot.met('already_open')} }}"
            then = block("if (is_new)", kept)
        room = [
            f"else if (open_{self.index} < {self.room:d}) {{ open_{self.index}++; {spot.met('opened')} }}",
            # The oldest start makes room: of the two one is kept.
            f"else {spot.met('open_full')}",
        ]
        begun = [f"key = {expressions.number(key, place).text}", *values]
        if not self.spec.restart:
            begun.append("is_new = 1")
        return [*block("try", [*begun, first, *room, *then]), f"catch {{ {spot.met('faulted')} }}"]

    def ended(self, key: ValueNode, place: Place, spot: Spot, then: Lines) -> Lines:
        """Lines of an end's handler: where there was a start, `then` with its values."""
        taken = [f"since = starts_{self.index}[key]"]
        taken += [f"s{self.index}_{index} = {array}[key]" for index, array in enumerate(self._arrays())]
        taken += [f"delete {name}[key]" for name in (f"starts_{self.index}", *self._arrays())]
        taken.append(f"open_{self.index}--")
        return [
            "is_end = 0",
            *block(
                "try",
                [
                    f"key = {expressions.number(key, place).text}",
                    f"is_end = [key] in starts_{self.index}",
                    f"if (!is_end) {spot.met('unmatched')}",
                ],
            ),
            f"catch {{ {spot.met('faulted')} }}",
            *block("if (is_end)", [*taken, *then]),
        ]

    def _arrays(self) -> list[str]:
        return [f"saved_{self.index}_{index}" for index in range(len(self.saved.nodes))]

"""Spans: two probe points that make one event.

In: a span of the spec, the places of its starts and ends. Out: lines for the handlers of either. Arrays, keyed by what
start and end have in common, hold the time of the start and what is wanted of it; where they are full the oldest start
makes room. A start that is replaced or makes room, and an end without a start, are numbers of the ledger.
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
#: What the ledger has of each span, besides what it has of any event.
NUMBERS = ("unmatched", "replaced", "evicted", "unstarted")


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
            f"global open_{self.index}, {', '.join(f'{number}_{self.index}' for number in NUMBERS)}",
        ]

    def started(self, key: ValueNode, place: Place) -> Lines:
        """Lines of a start's handler."""
        values = [f"s{self.index}_{index} = {value_text(node, place)}" for index, node in enumerate(self.saved.nodes)]
        kept = [f"starts_{self.index}[key] = {TIME}"]
        kept += [f"{array}[key] = s{self.index}_{index}" for index, array in enumerate(self._arrays())]
        if self.spec.restart:
            first = [f"if ([key] in starts_{self.index}) replaced_{self.index} <<< 1"]
            then: Lines = kept
        else:
            first = [f"if ([key] in starts_{self.index}) {{ is_new = 0; replaced_{self.index} <<< 1 }}"]
            then = block("if (is_new)", kept)
        room = [
            f"else if (open_{self.index} < {self.room:d}) open_{self.index}++",
            f"else evicted_{self.index} <<< 1",
        ]
        begun = [f"key = {expressions.number(key, place).text}", *values]
        if not self.spec.restart:
            begun.append("is_new = 1")
        return [
            *block("try", [*begun, *first, *room, *then]),
            f"catch {{ unstarted_{self.index} <<< 1 }}",
        ]

    def ended(self, key: ValueNode, place: Place, then: Lines) -> Lines:
        """Lines of an end's handler: where there was a start, `then` with its values."""
        taken = [f"since = starts_{self.index}[key]"]
        taken += [f"s{self.index}_{index} = {array}[key]" for index, array in enumerate(self._arrays())]
        taken += [f"delete {name}[key]" for name in (f"starts_{self.index}", *self._arrays())]
        taken.append(f"open_{self.index}--")
        return [
            "is_end = 0",
            *block(
                "try",
                [f"key = {expressions.number(key, place).text}", f"is_end = [key] in starts_{self.index}"],
            ),
            "catch { is_end = 0 }",
            *block("if (is_end)", [*taken, *then]),
            f"else unmatched_{self.index} <<< 1",
        ]

    def _arrays(self) -> list[str]:
        return [f"saved_{self.index}_{index}" for index in range(len(self.saved.nodes))]

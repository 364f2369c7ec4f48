"""What may be asked where: an expression against the targets at which it is computed.

In: a node, and the place where it stands. Out: nothing, or a SpecError that names the probe that has it. Whether fields
exist is the kernel's to say, when the session starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spile.errors import SpecError
from spile.expr.at_start import AtStart
from spile.expr.context import OUTCOMES, Context
from spile.expr.field import Field
from spile.expr.node import Node
from spile.spec import Function, FunctionReturn, Profile, Target


class Moment(Enum):
    """When an expression is computed."""

    HIT = "when the probe fires"
    KEY = "when it fires, as a span's key"
    END = "at the end of a span"
    START = "at the start of a span"
    ENTRY = "at the entry of a function whose return is probed"


@dataclass(frozen=True)
class Place:
    """The targets whose fields `arg` has, and, for a span, those at which it starts."""

    targets: tuple[Target, ...]
    moment: Moment = Moment.HIT
    start: tuple[Target, ...] = ()

    def check(self, node: Node, path: str) -> None:
        """Raises SpecError for what isn't known here."""
        if isinstance(node, AtStart):
            self._begin(node, path).check(node.value, path)
            return
        if isinstance(node, Field):
            self._check_field(node, path)
        if isinstance(node, Context) and node.name in OUTCOMES:
            self._check_outcome(node.name, path)
        for child in node.children():
            self.check(child, path)

    def _check_field(self, node: Field, path: str) -> None:
        if any(isinstance(target, Profile) for target in self.targets):
            message = f"a timer has no fields of its own, and {node.spell()} asks for one: take comm, pid or kstack"
            raise SpecError(message, path)

    def _check_outcome(self, name: str, path: str) -> None:
        if self.moment is Moment.ENTRY:
            raise SpecError(f"{name} is not known yet when a function is entered: take it without at_start()", path)
        if self.moment is Moment.END:
            if name != "elapsed":
                raise SpecError(f"a span has elapsed, and no {name}: take what its end reports, as arg.ret", path)
            return
        for target in self.targets:
            if not isinstance(target, FunctionReturn):
                raise SpecError(_unknown(name, target), path)

    def _begin(self, node: AtStart, path: str) -> Place:
        """The place of what `at_start()` holds."""
        said = node.spell()
        if self.moment is Moment.END:
            return Place(self.start, Moment.START)
        if self.moment is Moment.KEY:
            raise SpecError(f"a key is computed where its probe fires: give {said} without at_start()", path)
        if self.moment is not Moment.HIT:
            raise SpecError(f"{said} stands within at_start(): once is enough", path)
        for target in self.targets:
            if not isinstance(target, FunctionReturn):
                raise SpecError(
                    f"{said}: {target.spelling} is one moment and has no start; spans have, and function_return", path
                )
        return Place(self.targets, Moment.ENTRY)


def _unknown(name: str, target: Target) -> str:
    """Why a target that is no return doesn't know it."""
    if isinstance(target, Function):
        return (
            f"{name} is not known when {target.name} is entered, where function() fires: "
            f'take session.function_return("{target.name}"), which has ret, error, elapsed and the arguments'
        )
    if name == "elapsed":
        return (
            f"{target.spelling} is one moment, and elapsed is the time between two: pair two probes, as in "
            "session.span(start, end)"
        )
    if isinstance(target, Profile):
        return f"a timer returns nothing: it has no {name}"
    return f"{target.spelling} has no {name}: what it reports are its fields, as arg.ret"

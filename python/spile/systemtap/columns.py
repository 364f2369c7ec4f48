"""What a record holds: its columns, and how the script computes and prints each.

In: captures and keys, and the place where they are taken. Out: for the reader the columns' schema; for the script local
variables, and the pieces that a frame prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from spile.expr.at_start import AtStart
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.node import Kind, ValueNode
from spile.expr.stack import MAX_STACK_DEPTH, StackTrace
from spile.expr.string import String
from spile.systemtap import expressions
from spile.systemtap.integer import Int
from spile.systemtap.places import Place
from spile.systemtap.refusal import refuse

_COMM = 16


@dataclass(frozen=True, slots=True)
class Column:
    """A column: a local variable of the script's, and its type for the reader."""

    name: str
    variable: str
    #: The value's text, which may fault.
    text: str
    #: As `FieldType` has it.
    type: dict[str, Any]
    role: str = "capture"
    #: Of a stack: the most frames; of a user's its process is one.
    frames: int = 0
    #: Of a number: what is known of it, once it is in the variable.
    number: Int | None = None

    @property
    def kind(self) -> str:
        """The type's kind."""
        return str(self.type["kind"])

    def schema(self) -> dict[str, Any]:
        """For the reader."""
        return {"name": self.name, "type": self.type, "role": self.role}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the session limits."""

    stack_depth: int = MAX_STACK_DEPTH
    #: Whether programs are known whose stacks can be walked.
    unwinds_users: bool = False


def column(name: str, variable: str, node: ValueNode, place: Place, sizes: Sizes, event: int, role: str) -> Column:
    """The column of a value."""
    if node.kind is Kind.STACK:
        return _stack(name, variable, node, place, sizes, role)
    if node == Context("probe_name"):
        return Column(name, variable, str(event), {"kind": "name"}, role)
    if node.kind is Kind.STRING:
        return Column(name, variable, expressions.string(node, place), _string_type(node), role)
    value = expressions.number(node, place)
    size = 8 if isinstance(node, Field) else value.size
    known = replace(value, text=variable, value=None, atomic=True)
    type_ = {"kind": "int", "size": size, "signed": value.signed}
    return Column(name, variable, value.text, type_, role, number=known)


def value_text(node: ValueNode, place: Place) -> str:
    """A value of any type, as a variable of the script's holds it."""
    if isinstance(node, StackTrace):
        return place.backtrace(node.space)
    return expressions.string(node, place) if node.kind is Kind.STRING else expressions.number(node, place).text


def headers() -> list[Column]:
    """The columns that every event begins with: when, and on which CPU."""
    time = {"kind": "int", "size": 8, "signed": False}
    cpu = {"kind": "int", "size": 2, "signed": False}
    return [Column("spile_time", "now", "now", time, "time"), Column("spile_cpu", "cpu()", "cpu()", cpu, "cpu")]


def _string_type(node: ValueNode) -> dict[str, Any]:
    if isinstance(node, String):
        return {"kind": "string", "limit": node.limit}
    return {"kind": "fixed_string", "size": _COMM} if _is_comm(node) else {"kind": "string", "limit": 512}


def _is_comm(node: ValueNode) -> bool:
    return any(part == Context("comm") for part in node.walk())


def _stack(name: str, variable: str, node: ValueNode, place: Place, sizes: Sizes, role: str) -> Column:
    inner = next(part for part in node.walk() if isinstance(part, StackTrace))
    text = place.backtrace(inner.space)
    if isinstance(node, AtStart):
        # Refused where there is no start.
        place.start()
        text = place.saved(node.value, text)
    frames = min(inner.frames or sizes.stack_depth, sizes.stack_depth)
    if inner.space == "user":
        if not sizes.unwinds_users:
            refuse(
                "ustack of programs that nobody named, for SystemTap walks a process's stack by what was compiled in",
                "name them, StapOptions(unwind=['/usr/bin/python3']), or trace one, pid= or command=; engine='bpf' can",
            )
        # The process stands before them, and counts as one.
        frames = min(frames, MAX_STACK_DEPTH - 1) + 1
    place.needs.stack(frames)
    return Column(name, variable, text, {"kind": "stack", "space": inner.space}, role, frames)

"""Values in a script's language. In: a node of an expression, and the place where it is computed. Out: text and a type.

What SystemTap has no word for is refused, with the reason. A read that faults raises an error in the script, which the
place around it catches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spile.expr.at_start import AtStart
from spile.expr.binary import Binary
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.integer import Integer
from spile.expr.node import ValueNode
from spile.expr.stack import StackTrace
from spile.expr.string import String
from spile.expr.unary import Unary
from spile.systemtap import integer
from spile.systemtap.integer import Int
from spile.systemtap.places import Place
from spile.systemtap.refusal import refuse

#: What SystemTap calls the facts about the running task; each with its type here.
_NUMBERS = {
    "pid": Int("pid()", 4, signed=False, small=True),
    "tid": Int("tid()", 4, signed=False, small=True),
    "ppid": Int("ppid()", 4, signed=False, small=True),
    "uid": Int("uid()", 4, signed=False, small=True),
    "gid": Int("gid()", 4, signed=False, small=True),
    "cpu": Int("cpu()", 4, signed=False, small=True),
    "utime": Int("task_utime()", signed=False, small=True),
    "stime": Int("task_stime()", signed=False, small=True),
    "task": Int("task_current()", signed=False),
}
_CGROUP = '@cast(task_current(), "task_struct", "kernel")->cgroups->dfl_cgrp->kn->id'
#: A field that is a string has no limit of its own.
_FIELD_STRING = 511


def number(node: ValueNode, place: Place) -> Int:
    """An integer."""
    return _LOWERED[type(node)](node, place)


def string(node: ValueNode, place: Place) -> str:
    """A string's text."""
    if isinstance(node, Context) and node.name == "comm":
        return "execname()"
    if isinstance(node, String):
        place.needs.room(node.limit)
        return f"{place.needs.function('spile_string')}({number(node.pointer, place).text}, {node.limit - 1})"
    if isinstance(node, AtStart):
        return place.saved(node.value, string(node.value, place.start()))
    if isinstance(node, Field):
        return f"{place.needs.function('spile_string')}({number(node, place).text}, {_FIELD_STRING})"
    return refuse(f"{node.spell()} is no string")


def _field(node: Field, place: Place) -> Int:
    return Int(place.argument(node))


def _context(node: Context, place: Place) -> Int:
    if node.name in _NUMBERS:
        return _NUMBERS[node.name]
    if node.name == "timestamp":
        return Int(place.time, signed=False, small=True)
    if node.name == "cgroup":
        if not place.debuginfo:
            refuse("cgroup without the kernel's debugging information")
        return Int(_CGROUP, signed=False, small=True)
    if node.name == "elapsed":
        return Int(place.elapsed(), signed=False, small=True)
    if node.name == "ret":
        return Int(place.returned())
    if node.name == "error":
        return Int(f"{place.needs.function('spile_error')}({place.returned()})", 4, small=True)
    return refuse(f"{node.name} as a number")


def _integer(node: Integer, place: Place) -> Int:
    return integer.literal(node.value)


def _binary(node: Binary, place: Place) -> Int:
    return integer.arithmetic(node.operator, number(node.left, place), number(node.right, place), place.needs)


def _unary(node: Unary, place: Place) -> Int:
    operand = number(node.operand, place)
    if node.operator == "-":
        return integer.negated(operand)
    if isinstance(node.operand, Field):
        spelled = node.operand.spell()
        refuse(f"~{spelled}, for SystemTap does not say how wide {spelled} is (say {spelled} ^ 0xffffffff for 32 bits)")
    return integer.inverted(operand)


def _at_start(node: AtStart, place: Place) -> Int:
    value = number(node.value, place.start())
    return replace(value, text=place.saved(node.value, value.text), value=None, atomic=True)


def _stack(node: StackTrace, place: Place) -> Int:
    return refuse(f"{node.spell()} as a number")


def _string(node: String, place: Place) -> Int:
    return refuse(f"{node.spell()} as a number")


_LOWERED: dict[type[ValueNode], Callable[[Any, Place], Int]] = {
    Field: _field,
    Context: _context,
    Integer: _integer,
    Binary: _binary,
    Unary: _unary,
    AtStart: _at_start,
    StackTrace: _stack,
    String: _string,
}

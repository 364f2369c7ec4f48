"""``capture=``, in its four forms.

In: ``{"name": expr}``, ``[utime, arg.count]``, ``"*"``, or an `Event` subclass. Out: named expressions in the order
declared, or ``"*"``, and the class. Names are checked here; fields are when the session starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.at_start import AtStart
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.node import ValueNode
from spile.expr.shown import ShownValue
from spile.expr.stack import NAMES, StackTrace
from spile.expr.string import String
from spile.expr.wrapper import Condition, Expr

#: What every event has without asking.
HEADERS = ("id", "probe", "time", "cpu", "datetime")
#: What every mapping has: a typed field of that name would hide it.
_METHODS = ("get", "items", "keys", "values")

Captured = list[tuple[str, Expr[Any]]] | Literal["*"]


def collect(capture: Any) -> tuple[Captured, type[Any] | None]:
    """Names and expressions in order, or ``"*"``; and the `Event` subclass, where one was given.

    Raises SpecError, whose path is ``capture`` or a part of it, for what is no capture, for names that clash with each
    other or with an event's header (``id probe time cpu datetime``), and for expressions without a name.
    """
    if isinstance(capture, str):
        if capture == "*":
            return "*", None
        _refuse(
            f"capture={capture!a}: as a string only '*' means something, all fields of the probe's own; say [{capture}]"
        )
    if isinstance(capture, type):
        return _from_class(capture), capture
    if isinstance(capture, Expr):
        _refuse(f"capture= takes several: say capture=[{capture!r}]")
    if isinstance(capture, Mapping):
        return [_named(name, value) for name, value in capture.items()], None
    if isinstance(capture, list | tuple):
        return _from_list(capture), None
    return _refuse(f"capture= takes a dict, a list, '*' or an Event subclass, not {operand.described(capture)}")


def _named(name: Any, value: Any) -> tuple[str, Expr[Any]]:
    """A name that a user chose, and its value."""
    if not isinstance(name, str):
        _refuse(f"a capture's name is a string, not {operand.described(name)}")
    expr = _checked(value, name)
    if not name.isidentifier():
        _refuse(f"{name!a} can't be a capture's name: handlers bind it, so it is an identifier, such as 'utime'", name)
    # The field or fact of that very name may be captured: event["cpu"] and event.cpu are the same.
    if name in HEADERS and _name_of(operand.value(expr, "capture=")) != name:
        _refuse(f"every event has its {name} already, so {expr!r} can't be called so: choose another name", name)
    return str(name), expr


def default_name(expr: Expr[Any]) -> str:
    """The name that an expression has by itself: ``utime``, ``arg.count`` is count, ``arg[0]`` is arg0,
    ``at_start(comm)`` comm_at_start.

    Raises SpecError for a calculation, which has none.
    """
    name = _name_of(operand.value(expr, "capture="))
    if name is None:
        _refuse(f"{expr!r} has no name by itself: say capture={{'name': {expr!r}}}")
    return name


def _name_of(node: ValueNode) -> str | None:
    if isinstance(node, Context):
        return node.name
    if isinstance(node, StackTrace):
        return NAMES[node.space]
    if isinstance(node, AtStart):
        name = _name_of(node.value)
        return None if name is None else f"{name}_at_start"
    if isinstance(node, String):
        return _name_of(node.pointer)
    if isinstance(node, Field):
        words = ["arg", *map(str, node.path)]
        first = next((at for at in range(len(node.path), 0, -1) if isinstance(node.path[at - 1], str)), 0)
        return "_".join(words[first:]) if first else "".join(words[:2]) + "".join(f"_{word}" for word in words[2:])
    return None


def _from_list(captures: list[Any] | tuple[Any, ...]) -> list[tuple[str, Expr[Any]]]:
    named: dict[str, Expr[Any]] = {}
    for index, value in enumerate(captures):
        expr = _checked(value, index)
        name = default_name(expr)
        if not name.isidentifier():
            _refuse(f"{expr!r} has no name that a handler could bind: say capture={{'name': {expr!r}}}", index)
        if name in named:
            _refuse(f"{named[name]!r} and {expr!r} are both called {name!r}: say {{'{name}_2': {expr!r}}}", index)
        named[name] = expr
    return list(named.items())


def _from_class(cls: type[Any]) -> list[tuple[str, Expr[Any]]]:
    named: dict[str, Expr[Any]] = {}
    for base in reversed(cls.__mro__):
        declared = vars(base)
        for name in declared.get("__annotations__", {}):
            if name not in declared and not name.startswith("_") and not _is_class_variable(declared, name):
                _refuse(f"{base.__name__}.{name} has a type but no expression: say {name} = arg.{name}", name)
        for name, value in declared.items():
            if isinstance(value, Condition):
                _checked(value, name)
            if isinstance(value, Expr):
                if name in HEADERS or name in _METHODS:
                    _refuse(f"{base.__name__}.{name} would hide what every event has: choose another name", name)
                named[name] = _checked(value, name)
            elif name in named:
                del named[name]  # overridden by something that is no capture, as None
    if not named:
        _refuse(f"{cls.__name__} declares no field: say count = arg.count in its body")
    return list(named.items())


def _is_class_variable(declared: Mapping[str, Any], name: str) -> bool:
    return "ClassVar" in str(declared["__annotations__"][name])


def _checked(value: Any, place: str | int) -> Expr[Any]:
    if isinstance(value, Condition):
        _refuse(f"{value!r} is a condition, and events carry values: give it to where=", place)
    if not isinstance(value, Expr):
        if isinstance(value, str):
            _refuse(f"{value!a} is a string: say expr({value!a}), or name the capture itself", place)
        _refuse(f"a capture is an expression, such as utime or arg.count, not {operand.described(value)}", place)
    try:
        node = operand.value(value, "capture=")
    except SpecError as error:
        _refuse(error.message, place)
    if isinstance(value, ShownValue):
        _refuse(f"symbol(), disk() and inet() are for keys, and events carry numbers: capture {node.spell()}", place)
    return value


def _refuse(message: str, place: str | int | None = None) -> NoReturn:
    raise SpecError(message, "capture" if place is None else f"capture[{place!r}]")

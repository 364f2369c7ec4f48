"""``arg``: the fields of the probe's own, by attribute, item and position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.field import MAX_INDEX, Field
from spile.expr.literal import is_integer
from spile.expr.wrapper import Expr


class Path(Expr[Any]):
    """A field, or the way to one: ``arg.count``, ``arg["from"]`` (a keyword), ``arg[0]`` (the first), ``arg.file.pos``.

    Every attribute is a kernel field, whatever its name; only names with two underscores at both ends are Python's.
    Whether a field exists, and its type, is asked when the session starts or is checked.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Path:
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)  # type: ignore[no-any-return]
        return _longer(self, name)

    def __getitem__(self, step: str | int, /) -> Path:
        if isinstance(step, str):
            if not step or "\0" in step:
                raise SpecError(f"{self!r}[{step!a}]: a field has a name")
            return _longer(self, str(step))
        if isinstance(step, bool) or not is_integer(step):
            raise SpecError(
                f"{self!r}[…] takes a field's name or a position, such as arg['from'] or arg[0], not {step!r}"
            )
        position = int(step)
        if not 0 <= position <= MAX_INDEX:
            raise SpecError(f"{self!r}[{position}]: positions count from 0")
        return _longer(self, position)

    if not TYPE_CHECKING:  # a type checker that doesn't see it refuses the call by itself

        def __call__(self, *_, **__):
            *_, last = operand.node_of(self).path or ("arg",)
            functions = {
                "startswith": "startswith(x, prefix)",
                "isin": "isin(x, …)",
                "between": "between(x, low, high)",
            }
            remedy = f"; operations are functions: {functions[last]}" if last in functions else ""
            raise SpecError(f"{self!r} is a field path, not a method{remedy}")


def _longer(path: Path, step: str | int) -> Path:
    node = operand.node_of(path)
    assert isinstance(node, Field)
    return Path(Field((*node.path, step)))

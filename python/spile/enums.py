"""Numbers that have names: values of enumerations, and errors.

In: a column's table of values and names, once. Out: for each value an `int` that knows its name. Rust looks values up
here when somebody looks at a field; events themselves carry numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

#: What ends a format that asks for a number: ``f"{error:>5d}"``.
_NUMERIC = frozenset("bcdeEfFgGnoxX%")


class NamedInt(int):
    """An integer with a name, such as ``TCP_CLOSE`` or ``ENOENT``; `name` is None where the kernel has none for it.

    It is an `int` in everything (0 is false), but reads as its name: ``str(error)`` is ``"ENOENT"``, and so is
    ``f"{error}"``, while ``f"{error:d}"`` is ``"2"``. It equals its number and its name; as a key it is its number.
    """

    name: str | None

    def __new__(cls, value: int, name: str | None = None, /) -> NamedInt:
        made = super().__new__(cls, value)
        made.name = name
        return made

    def __str__(self) -> str:
        return self.name or int.__repr__(self)

    def __repr__(self) -> str:
        return int.__repr__(self) if self.name is None else f"<{self.name}: {int.__repr__(self)}>"

    def __format__(self, spec: str, /) -> str:
        if self.name is None or spec[-1:] in _NUMERIC:
            return int.__format__(self, spec)
        return format(self.name, spec)

    def __eq__(self, other: object, /) -> bool:
        if isinstance(other, str):
            return self.name == other
        return int.__eq__(self, other)

    def __ne__(self, other: object, /) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __reduce__(self) -> tuple[type[NamedInt], tuple[int, str | None]]:
        return (NamedInt, (int(self), self.name))


class Names(dict[int, NamedInt]):
    """A column's values by number; a value without a name is made when it is asked for, and not kept."""

    def __init__(self, values: Iterable[tuple[int, str]]) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}
        """The number of each name."""
        for value, name in values:
            # Where two share a value, the first is its name.
            self.setdefault(value, NamedInt(value, name))
            self.numbers.setdefault(name, value)

    def __missing__(self, value: int) -> NamedInt:
        return NamedInt(value)

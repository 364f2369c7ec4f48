"""Typed reads of JSON.

In: what `json.loads` gave. Out: Python values, or a SpecError with the path to what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from spile.errors import SpecError


class Reader:
    """A JSON value and the path that leads to it."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value = value
        self.path = path

    def refuse(self, message: str) -> NoReturn:
        """Raises a SpecError with this path."""
        raise SpecError(message, self.path or None)

    def expect(self, what: str) -> NoReturn:
        """Raises a SpecError that says what should be here, and what is."""
        self.refuse(f"expected {what}, found {_described(self.value)}")

    def members(self, *names: str, optional: tuple[str, ...] = ()) -> dict[str, Reader]:
        """The members of an object, each of `names` and nothing beyond them and `optional`."""
        if not isinstance(self.value, dict):
            self.expect("an object")
        for name in self.value:
            if name not in names and name not in optional:
                self.at(f"{name}").refuse(
                    f"there is no member {name!r} here; the members are {', '.join(names + optional)}"
                )
        for name in names:
            if name not in self.value:
                self.at(name).refuse(f"the member {name!r} is missing")
        return {name: self.at(name, self.value.get(name)) for name in (*names, *optional)}

    def member(self, name: str) -> Reader:
        """One member of an object that may have others."""
        if not isinstance(self.value, dict):
            self.expect("an object")
        if name not in self.value:
            self.at(name).refuse(f"the member {name!r} is missing")
        return self.at(name, self.value[name])

    def at(self, name: str, value: Any = None) -> Reader:
        """A member's reader."""
        return Reader(value, f"{self.path}.{name}" if self.path else name)

    def __iter__(self) -> Iterator[Reader]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            self.expect("a list")
        for index, value in enumerate(self.value):
            yield Reader(value, f"{self.path}[{index}]")

    @property
    def absent(self) -> bool:
        """Whether there is nothing, or a null."""
        return self.value is None

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            self.expect("a string")
        return self.value

    def flag(self) -> bool:
        """A boolean."""
        if not isinstance(self.value, bool):
            self.expect("true or false")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """An integer, both bounds included."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.expect("an integer")
        if not low <= self.value <= high:
            self.refuse(f"{self.value} is outside {low} … {high}")
        return self.value

    def choice(self, *choices: str) -> str:
        """One of some strings."""
        text = self.text()
        if text not in choices:
            self.refuse(f"{text!r} is none of {', '.join(choices)}")
        return text

    def bytes(self) -> bytes:
        """A string of any bytes, written as a list of integers."""
        return bytes(item.integer(0, 255) for item in self)


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer", float: "a float"}
    return names.get(type(value), type(value).__name__)

"""What an aggregate's states are, how they merge, and what a user sees of them: one shape for all.

In: plain states, as native tables have them: numbers, tuples of numbers, counts by bin, registers. Out: states that
were merged or subtracted, and the values that stand for them. A state never changes. Nothing here knows keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NoReturn

from spile.spec import AggregateFunction


class Kind(ABC):
    """An aggregate function and the unit of what it is of."""

    #: Why its states don't subtract; None where they do.
    no_difference: ClassVar[str | None] = None
    #: Whether states are what a user sees.
    is_plain: ClassVar[bool] = False
    #: The columns of its values.
    columns: ClassVar[tuple[str, ...]]
    #: Whether a value takes several lines of its own.
    is_block: ClassVar[bool] = False
    #: Whether what all keys have together is a sum of numbers.
    has_total: ClassVar[bool] = False

    def __init__(self, function: AggregateFunction, unit: str | None = None) -> None:
        self.function = function
        self.unit = unit

    @property
    def name(self) -> str:
        """As the method of a probe is called."""
        return self.function.kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value}" for name, value in self.function.parameters)
        return f"{self.name}({parameters})" if parameters else self.name

    # States.

    @abstractmethod
    def nothing(self) -> Any:
        """The state of no events."""

    @abstractmethod
    def merged(self, one: Any, other: Any) -> Any:
        """The state of both's events; None if nothing is left, which takes a negative one."""

    def subtracted(self, one: Any, other: Any) -> Any:
        """The state of `one`'s events without `other`'s; None if nothing is left. Raises as `must_subtract` does."""
        raise TypeError(self._indivisible)

    @abstractmethod
    def scaled(self, state: Any, factor: int) -> Any:
        """The state of so many times as many events, all alike. Raises TypeError where that isn't known."""

    @abstractmethod
    def check(self, state: Any) -> str | None:
        """What is wrong with a state that came from outside; None if nothing is."""

    def restored(self, state: Any) -> Any:
        """A state from outside, whose lists are tuples, in the form that native tables give it."""
        return state

    # What a user sees.

    @abstractmethod
    def value(self, state: Any) -> Any:
        """The state as an object."""

    @abstractmethod
    def state(self, value: Any) -> Any:
        """The state of an object that `value` made, or an equal one. Raises TypeError for any other."""

    @abstractmethod
    def rank(self, state: Any) -> Any:
        """What its natural order is by: `top` has the greatest first."""

    @abstractmethod
    def hits(self, state: Any) -> int | None:
        """How many events it is of; None where that isn't kept."""

    @abstractmethod
    def plain(self, state: Any) -> Any:
        """The value in Python's own types."""

    @abstractmethod
    def rows(self, states: Iterable[Any]) -> tuple[list[int] | None, list[list[Any]]]:
        """Its `columns` for these states; where it `is_long`, how many rows each state has."""

    @abstractmethod
    def record(self, state: Any) -> Mapping[str, Any]:
        """The value as members of a JSON object."""

    def summary(self, state: Any) -> str:
        """The value on one line."""
        return str(self.value(state))

    @property
    def headings(self) -> tuple[str, ...]:
        """What stands above `cells`."""
        return (self.name,)

    def cells(self, state: Any) -> list[str]:
        """The value in the columns of a table for people."""
        return [self.summary(state)]

    # Of many keys.

    def total(self, states: Iterable[Any]) -> Any:
        """The sum over keys, where that is what a user would call the total. Raises AttributeError elsewhere."""
        what = "hits is the number of events, " if self.hits(self.nothing()) is not None else ""
        raise AttributeError(f"a {self.name} has no total: {what}overall is one {self.name} of all keys' events")

    def overall(self, states: Iterable[Any]) -> Any:
        """One state of all of these."""
        result = self.nothing()
        for state in states:
            merged = self.merged(result, state)
            result = self.nothing() if merged is None else merged
        return result

    def refuse(self, value: object) -> NoReturn:
        """Raises TypeError: not what `value` makes."""
        raise TypeError(f"{value!r} is no value of a {self!r}")

    def must_subtract(self) -> None:
        """Raises TypeError, and says why, where a difference isn't known."""
        if self.no_difference is not None:
            raise TypeError(self._indivisible)

    @property
    def _indivisible(self) -> str:
        return f"{self.name} doesn't subtract: {self.no_difference}; take() gives what belongs to an interval"


def is_whole(value: object) -> bool:
    """Whether it is an integer, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)

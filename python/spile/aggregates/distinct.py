"""How many different values there were, by HyperLogLog. In: registers. Out: `Distinct`, a number that merges."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from spile import _native
from spile.aggregates.frozen import Frozen
from spile.aggregates.kind import Kind

REGISTERS = 4096
#: The standard error, as a share of the number.
RELATIVE_ERROR = 1.04 / math.sqrt(REGISTERS)
#: The greatest rank that a register can have.
_GREATEST = 53


@functools.total_ordering
class Distinct(Frozen):
    """About how many different values there were: `estimate`, give or take `error`; ``int()`` rounds it.

    ``a + b`` is of both's values, those that both had counted once. Compared with numbers it is ``int(x)``; two of them
    are equal if they know the same.
    """

    __slots__ = ("_estimate", "_registers")
    __hash__ = None  # type: ignore[assignment]

    relative_error = RELATIVE_ERROR
    _registers: bytes
    _estimate: float

    def __init__(self, registers: bytes) -> None:
        self._set(_registers=registers, _estimate=_native.estimate_distinct(registers))

    @property
    def estimate(self) -> float:
        """The number."""
        return self._estimate

    @property
    def error(self) -> float:
        """The standard error: two times in three the true number is nearer than that."""
        return self._estimate * RELATIVE_ERROR

    def __int__(self) -> int:
        return round(self._estimate)

    def __float__(self) -> float:
        return self._estimate

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Distinct):
            return self._registers == other._registers
        return int(self) == other if isinstance(other, int | float) else NotImplemented

    def __lt__(self, other: Distinct | float) -> bool:
        if isinstance(other, Distinct):
            return self._estimate < other._estimate
        if not isinstance(other, int | float):
            return NotImplemented
        return int(self) < other

    def __add__(self, other: Distinct) -> Distinct:
        if not isinstance(other, Distinct):
            return NotImplemented
        return Distinct(_native.merge_distinct(self._registers, other._registers))

    def __str__(self) -> str:
        return f"{int(self):,} ± {round(self.error):,}"

    def __repr__(self) -> str:
        return f"<Distinct: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Distinct, (self._registers,)


class Different(Kind):
    """States are registers."""

    no_difference: ClassVar[str | None] = "which values both have isn't known"
    columns = ("distinct", "error")

    def nothing(self) -> bytes:
        return bytes(REGISTERS)

    def merged(self, one: bytes, other: bytes) -> bytes:
        return _native.merge_distinct(one, other)

    def scaled(self, state: bytes, factor: int) -> bytes:
        if factor > 1:
            raise TypeError("distinct doesn't scale: nobody knows how many values the hits had that were left out")
        return state

    def check(self, state: Any) -> str | None:
        is_good = isinstance(state, bytes) and len(state) == REGISTERS and max(state) <= _GREATEST
        return None if is_good else f"expected {REGISTERS} registers of at most {_GREATEST}"

    def value(self, state: bytes) -> Distinct:
        return Distinct(state)

    def state(self, value: Any) -> bytes:
        return bytes(value._registers) if isinstance(value, Distinct) else self.refuse(value)

    def rank(self, state: bytes) -> float:
        return _native.estimate_distinct(state)

    def hits(self, state: bytes) -> None:
        return None

    def plain(self, state: bytes) -> int:
        return int(Distinct(state))

    def rows(self, states: Iterable[bytes]) -> tuple[list[int] | None, list[list[Any]]]:
        estimates = [_native.estimate_distinct(state) for state in states]
        return None, [[round(number) for number in estimates], [number * RELATIVE_ERROR for number in estimates]]

    def record(self, state: bytes) -> Mapping[str, Any]:
        of = Distinct(state)
        return {"distinct": int(of), "error": of.error}

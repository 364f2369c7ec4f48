"""Tables as dicts, data frames, Arrow and JSON.

In: a snapshot. Out: the same rows in another form. Columns are one for each part of the key, named by its expression,
then those of the value; docs/semantics.md says which. No package that isn't asked for is imported, and no Python runs
for each row where the form allows that.
"""

from __future__ import annotations

import json
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from spile.enums import NamedInt
from spile.packages import wanted
from spile.table.keys import is_stack, parts_of, plain, readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas
    import polars
    import pyarrow

    from spile.table.snapshot import Snapshot

_I64, _U64 = range(-(1 << 63), 1 << 63), range(1 << 64)


class Convertible:
    """What has a snapshot, and all that becomes of that."""

    __slots__ = ()

    def _now(self) -> Snapshot[Any, Any]:
        raise NotImplementedError

    def to_dict(self) -> dict[Any, Any]:
        """A dict of Python's own values: ints, floats, and for others dicts or lists of these."""
        table = self._now()
        return {key: table._kind.plain(state) for key, state in table._states.items()}

    def to_columns(self) -> dict[str, list[Any]]:
        """Lists of equal length, by the names of columns."""
        return columns(self._now())

    def to_pandas(self) -> pandas.DataFrame:
        """A `pandas.DataFrame`. Raises ImportError without pandas."""
        made: pandas.DataFrame = wanted("pandas", "to_pandas").DataFrame(columns(self._now()))
        return made

    def to_polars(self) -> polars.DataFrame:
        """A `polars.DataFrame`. Raises ImportError without polars."""
        made: polars.DataFrame = wanted("polars", "to_polars").DataFrame(_fitting(columns(self._now())))
        return made

    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table`. Raises ImportError without pyarrow."""
        arrow = wanted("pyarrow", "to_arrow")
        named = _fitting(columns(self._now()))
        # Told its type, for what is guessed from the first numbers may be too small for the next.
        unsigned = {name for name, column in named.items() if _is_unsigned(column)}
        types = {name: arrow.uint64() if name in unsigned else None for name in named}
        made: pyarrow.Table = arrow.table({name: arrow.array(named[name], types[name]) for name in named})
        return made

    def to_json(self) -> str:
        """A list of objects, as `spile count --json` prints one on each line: `by`, and the members of the value."""
        return json.dumps(list(records(self._now())), ensure_ascii=False)


def records(table: Snapshot[Any, Any], most: int | None = None) -> Iterator[dict[str, Any]]:
    """An object for each key, with `most` for the greatest alone, those first."""
    names = table._part_names()
    rows = table._states.items() if most is None else table._top(most)
    for key, state in rows:
        by = {name: plain(part) for name, part in zip(names, parts_of(key), strict=True)}
        yield {"by": by, **_plain_members(table._kind.record(state))}


def columns(table: Snapshot[Any, Any]) -> dict[str, list[Any]]:
    """The key's columns, then the value's."""
    kind, names = table._kind, table._part_names()
    lengths, values = kind.rows(table._states.values())
    keys = [_column(column) for column in _transposed(table, len(names))]
    if lengths is not None:
        keys = [list(chain.from_iterable(map(repeat, column, lengths))) for column in keys]
    named = dict(zip(names, keys, strict=True))
    for name, column in zip(kind.columns, values, strict=True):
        # A key's part may be called as a column is; it came first.
        named[f"{name}_" if name in named else name] = _column(column) if name == "item" else column
    return named


def _transposed(table: Snapshot[Any, Any], width: int) -> list[Sequence[Any]]:
    states = table._states
    if not states:
        return [()] * width
    return list(zip(*states, strict=True)) if isinstance(next(iter(states)), tuple) else [list(states)]


def _column(column: Sequence[Any]) -> list[Any]:
    """One type for all: stacks are folded, numbers with names are these, text is what UTF-8 can have."""
    types = set(map(type, column))
    if types <= {int}:
        return list(column)
    if any(hasattr(each, "folded") for each in types):
        folded = {part: part.folded() if is_stack(part) else str(part) for part in set(column)}
        return list(map(folded.__getitem__, column))
    if any(issubclass(each, NamedInt) for each in types) or len(types) > 1 or types <= {bytes}:
        # Names of numbers that have one, and digits for the others.
        return [part.hex() if isinstance(part, bytes) else readable(str(part)) for part in column]
    try:
        "".join(column).encode()
    except UnicodeEncodeError:
        return list(map(readable, column))
    return list(map(str, column))


def _fitting(named: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns whose whole numbers fit 64 bits, of one sign; others become floats, as everywhere in such formats."""
    return {name: _narrowed(column) for name, column in named.items()}


def _narrowed(column: list[Any]) -> list[Any]:
    if not column or not isinstance(column[0], int | None) or set(map(type, column)) - {int, type(None)}:
        return column
    numbers = column if None not in column else [number for number in column if number is not None]
    if not numbers or any(min(numbers) in fits and max(numbers) in fits for fits in (_I64, _U64)):
        return column
    return [None if number is None else float(number) for number in column]


def _is_unsigned(column: list[Any]) -> bool:
    return set(map(type, column)) == {int} and max(column) not in _I64


def _plain_members(record: Any) -> dict[str, Any]:
    return {name: _plain_items(value) if isinstance(value, list) else value for name, value in record.items()}


def _plain_items(items: list[Any]) -> list[Any]:
    return [{name: plain(value) for name, value in item.items()} for item in items]

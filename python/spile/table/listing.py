"""Tables as text: what `repr` and `str` show. In: a snapshot. Out: text. A `repr` symbolizes nothing.

A key stands behind its values, so that it may be as long and as wide as it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spile.table.keys import frames, is_stack, parts_of, short, shown

if TYPE_CHECKING:
    from spile.aggregates import Kind
    from spile.table.snapshot import Snapshot

_ROWS = 10
_WIDTH = 12


def at_least_zero(n: int) -> None:
    """Refuses a number of rows that is none."""
    if n < 0:
        raise ValueError(f"top() takes a number of rows, at least 0; not {n}")


def stands_for(sample: int, before: str = "") -> str:
    """What one that was counted stands for, behind `before`; nothing where that is itself."""
    return f"{before}one counted stands for {sample:,}" if sample > 1 else ""


def describe(what: str, table: Snapshot[Any, Any]) -> str:
    """A line: how many keys, the greatest of them."""
    kind = table._kind
    of = "" if kind.name == "count" else f" of {kind}"
    listed = ", ".join(f"{short(key)}: {kind.summary(state)}" for key, state in table._top(3))
    more = ", …" if len(table) > 3 else ""
    noun = "key" if len(table) == 1 else "keys"
    total = f", total {kind.summary(table.total)}" if kind.has_total else ""
    note = stands_for(table.sample, ", ")
    return f"<{what}{of}: {len(table):,} {noun}{total}{note}{': ' if listed else ''}{listed}{more}>"


def listing(table: Snapshot[Any, Any], total: Any = None) -> str:
    """The greatest, one below the other; a stack stands indented under its values."""
    kind = table._kind
    rows = table._top(_ROWS)
    lines = _blocks(rows, kind) if kind.is_block else _columns(rows, kind)
    if len(table) > len(rows):
        lines.append(f"{'…':>{_WIDTH}}  {len(table) - len(rows):,} more")
    if total is not None:
        lines.append(f"{kind.summary(total):>{_WIDTH}}  in all")
    if table.sample > 1:
        lines.append(stands_for(table.sample))
    return "\n".join(lines) or "nothing"


def cells(table: Snapshot[Any, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings, and for each key its values below them."""
    return table._kind.headings, [table._kind.cells(state) for state in table._states.values()]


def blocks(table: Snapshot[Any, Any]) -> list[str]:
    """For each key its value, on lines of its own."""
    return _blocks(list(table._states.items()), table._kind)


def _columns(rows: list[tuple[Any, Any]], kind: Kind) -> list[str]:
    lines = []
    if len(kind.headings) > 1 and rows:
        lines.append("".join(f"{heading:>{_WIDTH}}" for heading in kind.headings))
    for key, state in rows:
        plain, stacks = _key(key)
        lines.append(f"{''.join(f'{cell:>{_WIDTH}}' for cell in kind.cells(state))}  {plain}".rstrip())
        lines += [" " * (_WIDTH + 2) + line for line in stacks]
    return lines


def _blocks(rows: list[tuple[Any, Any]], kind: Kind) -> list[str]:
    lines = []
    for key, state in rows:
        plain, stacks = _key(key)
        if key != ():
            lines += [f"{plain}:" if plain else "stack:", *(f"    {line}" for line in stacks)]
        lines += [*str(kind.value(state)).splitlines(), ""]
    return lines


def _key(key: Any) -> tuple[str, list[str]]:
    parts = parts_of(key)
    plain = ", ".join(shown(part) for part in parts if not is_stack(part))
    return plain, [line for part in parts if is_stack(part) for line in frames(part)]

"""Tables as text: what `repr` and `str` show. In: rows, largest first. Out: text; nothing is symbolized for a `repr`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def at_least_zero(n: int) -> None:
    """Refuses a number of rows that is none."""
    if n < 0:
        raise ValueError(f"top() takes a number of rows, at least 0; not {n}")


def _short(key: Any) -> str:
    """A key on one line, without symbolizing anything."""
    if isinstance(key, tuple):
        inside = ", ".join(_short(part) for part in key)
        return f"({inside},)" if len(key) == 1 else f"({inside})"
    return f"<stack of {len(key)}>" if hasattr(key, "folded") else repr(key)


def describe(kind: str, rows: Mapping[Any, Any]) -> str:
    """A line: how many keys, the largest of them."""
    import heapq

    largest = heapq.nlargest(3, rows.items(), key=lambda row: cast(int, row[1]))
    listed = ", ".join(f"{_short(key)}: {value:,}" for key, value in largest)
    more = ", …" if len(rows) > len(largest) else ""
    noun = "key" if len(rows) == 1 else "keys"
    return f"<{kind}: {len(rows):,} {noun}, total {sum(rows.values()):,}{': ' if listed else ''}{listed}{more}>"


def listing(top: list[tuple[Any, Any]], size: int, total: Any) -> str:
    """The largest, one below the other; a stack stands indented under its count."""
    lines = []
    for key, value in top:
        parts = key if isinstance(key, tuple) else (key,)
        plain = ", ".join(str(part) for part in parts if not hasattr(part, "folded"))
        lines.append(f"{value:>12,}  {plain}".rstrip())
        for part in parts:
            if hasattr(part, "folded"):
                lines += [" " * 14 + line.strip() for line in str(part).splitlines()]
    if size > len(top):
        lines.append(f"{'…':>12}  {size - len(top):,} more")
    lines.append(f"{total:>12,}  in all")
    return "\n".join(lines)

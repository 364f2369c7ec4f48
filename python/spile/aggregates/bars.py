"""Bars of text, as bcc and bpftrace draw them. In: labels and counts. Out: lines."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 40


def text(rows: Sequence[tuple[str, int]], width: int = WIDTH) -> str:
    """A line for each: its label, its count, and a bar as long as the count is beside the greatest one."""
    if not rows:
        return "no values"
    most = max(max(count for _, count in rows), 1)
    labels = max(len(label) for label, _ in rows)
    counts = max(len(f"{count:,}") for _, count in rows)
    lines = []
    for label, count in rows:
        # What there is shows, however little it is.
        length = max(width * count // most, 1) if count > 0 else 0
        lines.append(f"{label:<{labels}}  {count:>{counts},} |{'@' * length:<{width}}|")
    return "\n".join(lines)

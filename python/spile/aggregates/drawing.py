"""Bars as HTML, and by matplotlib where it is installed. In: labels and counts. Out: plain markup, or axes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH = 200
_LEFT, _RIGHT = ' style="text-align:left"', ' style="text-align:right"'
_BAR = "background:#4c78a8;height:0.8em;display:inline-block"


def histogram(rows: Sequence[tuple[str, int]]) -> str:
    """A table with a bar in each row."""
    if not rows:
        return "<div>no values</div>"
    most = max(max(count for _, count in rows), 1)
    return f"<table>{''.join(_row(label, count, most) for label, count in rows)}</table>"


def _row(label: str, count: int, most: int) -> str:
    bar = f'<span style="{_BAR};width:{max(_WIDTH * count // most, int(count > 0))}px"></span>'
    return f"<tr><td{_LEFT}>{escape(label)}</td><td{_RIGHT}>{count:,}</td><td{_LEFT}>{bar}</td></tr>"


def plot(rows: Sequence[tuple[str, int]], unit: str | None, ax: Any) -> Any:
    """Bars into `ax`, or into new axes."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plot() needs matplotlib: pip install matplotlib (or print the histogram)") from error
        ax = pyplot.subplots()[1]
    places = range(len(rows))
    ax.bar(places, [count for _, count in rows], width=1.0, edgecolor="white")
    ax.set_xticks(places, [label for label, _ in rows], rotation=90)
    ax.set_ylabel("count")
    ax.set_xlabel(unit or "")
    return ax

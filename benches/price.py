"""A price: what one thing costs in spile, beside a peer that does the same in the same run.

In: timings of rounds that alternate between the two. Out: rows of one table. What a row says is the ratio: the machine,
and what else it does meanwhile, concern both sides alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to be: so many times as fast at least, or so large a part of the peer's cost at most."""

    side: Literal["at least", "at most"]
    bound: float

    def ratio(self, spile: float, peer: float) -> float:
        """The figure that the bound is for."""
        over, under = (peer, spile) if self.side == "at least" else (spile, peer)
        return over / under if under else float("inf")

    def is_met(self, ratio: float) -> bool:
        """Whether the bound is kept."""
        return ratio >= self.bound if self.side == "at least" else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.side == 'at least' else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Price:
    """One row. Both costs in `unit`; the less the better."""

    what: str
    peer_name: str
    spile: float
    peer: float
    unit: str
    target: Target | None = None
    #: What has to be known to read the figures: losses, above all.
    remark: str = ""

    @property
    def ratio(self) -> float:
        """As the target counts it; without one, spile's part of the peer's cost."""
        return (self.target or Target("at most", 1)).ratio(self.spile, self.peer)

    @property
    def met(self) -> bool | None:
        """None where there is no target."""
        return None if self.target is None else self.target.is_met(self.ratio)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        target = None if self.target is None else asdict(self.target)
        return {**asdict(self), "target": target, "ratio": self.ratio, "met": self.met}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that could not be had here."""

    what: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


Row = Price | Skipped


def alternate(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Runs each side once a round, in turn; gives each side's figures."""
    figures: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        # The order turns round too: nobody always comes right after the same neighbour.
        order = range(len(sides)) if number % 2 == 0 else range(len(sides) - 1, -1, -1)
        for side in order:
            figures[side].append(sides[side]())
    return figures


def typical(figures: Iterable[float]) -> float:
    """The median: a neighbour's burst of work moves it little, a lucky round neither."""
    return statistics.median(figures)


HEADINGS = ("what", "spile", "peer", "ratio", "target", "met")


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    if isinstance(row, Skipped):
        return (row.what, "", f"skipped: {row.reason}", "", "", "")
    met = {None: "", True: "yes", False: "NO"}[row.met]
    peer = f"{amount(row.peer)} {row.unit} ({row.peer_name})"
    target = "" if row.target is None else str(row.target)
    return (row.what, f"{amount(row.spile)} {row.unit}", peer, f"{row.ratio:.2f}", target, met)


def amount(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def table(rows: Sequence[Row]) -> str:
    """For a terminal."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines if not line[2].startswith("skipped")) for column in range(6)]
    numbers = {1, 3}
    text = []
    for line in lines:
        parts = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(parts).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text + [f"  {row.what}: {row.remark}" for row in rows if isinstance(row, Price) and row.remark])


def markdown(rows: Sequence[Row]) -> str:
    """For `docs/benchmarks/`."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|--:|---|--:|---|---|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    remarks = [f"* {row.what}: {row.remark}" for row in rows if isinstance(row, Price) and row.remark]
    return "\n".join([*lines, "", *remarks]).rstrip() + "\n"

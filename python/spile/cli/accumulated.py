"""A table of what is accumulated, while it grows and at its end.

In: a `Table` or a `Cell`, and the names of its keys. Out: a table or histograms on a terminal, tab-separated lines in a
pipe (histograms there too), JSON lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import spile
from spile.cli.output import json_line, on_terminal, remarks, results, text
from spile.table.conversions import records
from spile.table.keys import parts_of
from spile.table.listing import blocks, cells, stands_for

_ROWS_ON_A_TERMINAL = 20


class Accumulated:
    """Values by key, and how they are shown."""

    def __init__(self, names: list[str], made: spile.Table[Any, Any] | spile.Cell[Any], top: int | None) -> None:
        self.names = names
        self.made = made
        self.top = top
        self.seconds = 0.0

    def rows(self, most: int | None) -> spile.Snapshot[Any, Any]:
        """The greatest, those first; all of them without a limit."""
        if isinstance(self.made, spile.Table):
            rows = self.made.top(most if most is not None else max(len(self.made), 1))
        else:
            rows = [((), self.made.value)]
        return spile.Snapshot(
            rows, self.made.function, by=tuple(self.names), unit=self.made.unit, sample=self.made.sample
        )

    def watch(self, session: spile.Session, duration: float | None, *, live: bool) -> None:
        """Lets the session run to its end, and on a terminal shows what there is meanwhile."""
        began = time.monotonic()
        with self._screen(live) as screen:
            for _ in session.every(0.5, duration=duration):
                self.seconds = time.monotonic() - began
                screen()
        self.seconds = time.monotonic() - began

    def print(self) -> None:
        """What there is at the end: with rulers for a person, as tab-separated lines for a pipe."""
        if on_terminal():
            results().print(self._shown())
        elif self._is_block():
            click.echo("\n".join(blocks(self.rows(self.top))).rstrip())
        else:
            self._print_lines()
        remarks().print(self._summary())

    def print_json(self) -> None:
        """A line for each key."""
        for record in records(self.rows(self.top)):
            click.echo(json_line(record))

    def _print_lines(self) -> None:
        rows = self.rows(self.top)
        columns = list(rows.to_columns().values())[len(self.names) :]
        for key, *values in zip(rows, *columns, strict=True):
            parts = (text(part).replace("\n", ";") for part in parts_of(key))
            click.echo("\t".join([*map(text, values), *parts]))

    @contextmanager
    def _screen(self, live: bool) -> Iterator[Callable[[], None]]:
        """A display to be refreshed while the session runs: the table, or a line where the result goes into a file."""
        if not live:
            console = remarks()
            if not console.is_terminal:
                yield lambda: None
                return
            with console.status("counting") as status:
                yield lambda: status.update(self._summary())
            return
        with Live(console=results(), auto_refresh=False, transient=True, vertical_overflow="ellipsis") as display:
            yield lambda: display.update(Group(self._shown(), self._summary()), refresh=True)

    def _is_block(self) -> bool:
        return self.made.function.kind in ("hist", "lhist", "top")

    def _shown(self) -> RenderableType:
        rows = self.rows(self.top or _ROWS_ON_A_TERMINAL)
        return Text("\n".join(blocks(rows)).rstrip()) if self._is_block() else self._table(rows)

    def _table(self, rows: spile.Snapshot[Any, Any]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        headings, lines = cells(rows)
        for heading in headings:
            table.add_column(heading, justify="right", style="bold cyan")
        has_share = bool(self.names) and self.made.function.kind == "count"
        if has_share:
            table.add_column("%", justify="right", style="dim")
        for name in self.names:
            table.add_column(name, overflow="fold")
        hits = max(self.made.hits, 1)
        for (key, value), line in zip(rows.items(), lines, strict=True):
            share = [f"{100 * value / hits:.1f}"] if has_share else []
            table.add_row(*line, *share, *(Text(text(part)) for part in parts_of(key)))
        return table

    def _summary(self) -> Text:
        hits, seconds = self.made.hits, self.seconds
        rate = f", {hits / seconds:,.0f} a second" if seconds > 0 else ""
        keys = f" under {len(self.made):,} keys" if isinstance(self.made, spile.Table) else ""
        return Text(f"{hits:,} hits{keys} in {seconds:.1f} s{rate}{stands_for(self.made.sample, ', ')}", style="dim")

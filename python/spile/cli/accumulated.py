"""A table of counts, while it grows and at its end.

In: a `Table` or a `Cell`, and the names of its keys. Out: a table on a terminal, tab-separated lines in a pipe,
JSON lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import spile
from spile.cli.output import json_line, on_terminal, remarks, results, text
from spile.table.keys import plain

_ROWS_ON_A_TERMINAL = 20


class Counts:
    """Counts by key, and how they are shown."""

    def __init__(self, names: list[str], counted: spile.Table[Any, int] | spile.Cell[int], top: int | None) -> None:
        self.names = names
        self.counted = counted
        self.top = top
        self.seconds = 0.0

    @property
    def total(self) -> int:
        """All that was counted."""
        return self.counted.total if isinstance(self.counted, spile.Table) else self.counted.value

    def rows(self, most: int | None) -> list[tuple[tuple[Any, ...], int]]:
        """The largest, largest first; all of them without a limit."""
        if not isinstance(self.counted, spile.Table):
            return [((), self.counted.value)]
        return self.counted.top(most if most is not None else max(len(self.counted), 1))

    def print(self) -> None:
        """The final table: with rulers for a person, as tab-separated lines for a pipe."""
        if on_terminal():
            results().print(self._table())
        else:
            for key, count in self.rows(self.top):
                click.echo("\t".join([str(count), *(text(part).replace("\n", ";") for part in key)]))
        remarks().print(self._summary())

    def print_json(self) -> None:
        """A line for each key."""
        for key, count in self.rows(self.top):
            by = {name: plain(part) for name, part in zip(self.names, key, strict=True)}
            click.echo(json_line({"by": by, "count": count}))

    @contextmanager
    def screen(self, live: bool) -> Iterator[Callable[[], None]]:
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
            yield lambda: display.update(Group(self._table(), self._summary()), refresh=True)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("count", justify="right", style="bold cyan")
        if self.names:
            table.add_column("%", justify="right", style="dim")
        for name in self.names:
            table.add_column(name, overflow="fold")
        total = self.total
        for key, count in self.rows(self.top or _ROWS_ON_A_TERMINAL):
            share = [f"{100 * count / max(total, 1):.1f}"] if self.names else []
            table.add_row(f"{count:,}", *share, *(Text(text(part)) for part in key))
        return table

    def _summary(self) -> Text:
        total, seconds = self.total, self.seconds
        rate = f", {total / seconds:,.0f} a second" if seconds > 0 else ""
        keys = f" under {len(self.counted):,} keys" if isinstance(self.counted, spile.Table) else ""
        return Text(f"{total:,} hits{keys} in {seconds:.1f} s{rate}", style="dim")

"""What a value looks like, on a terminal, in a pipe and as JSON; and where messages go.

In: values of events and keys. Out: text. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

import spile
from spile.strings import printable
from spile.table.keys import frames

# What the command line declares is declared in this package or in click, which is of no use to anybody.
_OWN_PLACE = re.compile(r" \((?:[^()]*, )?declared at [^()]*[/\\](?:click|spile[/\\]cli)[/\\][^()]*\)")


def results() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=True)


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(error: Exception) -> None:
    """One readable message. Where in this package a probe was declared is of no use to anybody."""
    console = remarks()
    console.print(Text.assemble(("spile: ", "bold red"), _OWN_PLACE.sub("", str(error))))
    for note in getattr(error, "__notes__", ()):
        console.print(Text(f"       {note}", style="dim"))


def text(value: Any) -> str:
    """A value in a table or a line; a stack takes several lines."""
    if isinstance(value, spile.Stack):
        return "\n".join(frames(value))
    if value is None:
        return "?"
    if isinstance(value, bytes):
        return value.hex()
    return printable(value) if isinstance(value, str) else str(value)


def json_line(value: dict[str, Any]) -> str:
    """One object, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()

"""What is missing from a result, at its end, on standard error."""

from __future__ import annotations

import warnings

from rich.text import Text

import spile
from spile.cli.output import remarks


def ours() -> None:
    """Losses are printed at the end of a command, so the library's own warning would say them twice."""
    warnings.simplefilter("ignore", spile.LossWarning)


def report(session: spile.Session) -> None:
    """Prints what was lost, why, and which limit to raise; what a sample left out; nothing where nothing was."""
    losses = session.losses
    explained = losses.explain()
    if explained:
        remarks().print(Text(explained, style="yellow"))
    for note in losses.notes:
        remarks().print(Text(note, style="dim"))

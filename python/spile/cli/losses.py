"""What is missing from a result, at its end, on standard error."""

from __future__ import annotations

import logging
import warnings

from rich.text import Text

import spile
from spile.cli.output import remarks


def ours() -> None:
    """What is missing is printed at the end of a command, so the library's own warnings and log would say it twice."""
    warnings.simplefilter("ignore", spile.LossWarning)
    warnings.simplefilter("ignore", spile.OverheadWarning)
    logging.getLogger("spile").addHandler(logging.NullHandler())


def report(session: spile.Session) -> None:
    """Prints what was lost, why, and which limit to raise; what a budget, step by step, or a sample left out; nothing
    where nothing was."""
    losses = session.losses
    explained = losses.explain()
    if explained:
        remarks().print(Text(explained, style="yellow"))
    for step in losses.steps:
        remarks().print(Text(f"max_overhead: {step}", style="dim"))
    for note in losses.notes:
        remarks().print(Text(note, style="dim"))

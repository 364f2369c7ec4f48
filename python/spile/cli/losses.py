"""What is missing from a result, at its end, on standard error."""

from __future__ import annotations

import spile
from spile.cli.output import remarks


def report(session: spile.Session) -> None:
    """Prints the ledger where it is not zero."""
    losses = session.losses
    if losses:
        remarks().print(f"[yellow]losses:[/] {losses}")

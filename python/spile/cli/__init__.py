"""The `spile` command: one file for each of its commands, all built on the public API.

In: arguments. Out: results on standard output; progress, losses and errors on standard error; an exit status.
click and rich are imported in this package only, so that `import spile` stays quick.
"""

from __future__ import annotations

from spile.cli.app import main

__all__ = ["main"]

"""A stap that does what a test says: an executable whose body is the test's own few lines.

It takes any arguments. `args`, `script` (what came in by standard input, read when asked for), `say(text)` for stderr
and `out(bytes)` for stdout are there already.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from spile.systemtap.options import StapOptions

_HEAD = """\
#!{python} -IS
import os, signal, subprocess, sys, time
args = sys.argv[1:]
def say(text):
    sys.stderr.write(text); sys.stderr.flush()
def out(data):
    while data:
        data = data[os.write(1, data):]
def script():
    return sys.stdin.read()
"""


def fake(folder: Path, body: str, **options: object) -> StapOptions:
    """Options that name a stap with this body."""
    program = folder / "stap"
    program.write_text(_HEAD.format(python=sys.executable) + textwrap.dedent(body))
    program.chmod(0o755)
    staprun = folder / "staprun"
    if not staprun.exists():
        staprun.write_text("#!/bin/sh\nexit 1\n")
        staprun.chmod(0o755)
    return StapOptions(stap=str(program), staprun=str(staprun), **options)  # type: ignore[arg-type]

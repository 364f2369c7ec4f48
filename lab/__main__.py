"""`python -m lab`: fetch kernels, run a command in a guest, compile a SystemTap script for one.

In: the command line. Out: the command's output and its status; 125 where the lab itself failed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab import LabError, guest, kernels, systemtap


def main(arguments: list[str] | None = None) -> int:
    """Runs one of the lab's commands."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.act(options))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 125


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="get what guests need, kernels and all")
    fetch.add_argument("series", nargs="*", default=list(kernels.SERIES), help="kernels (all)")
    fetch.add_argument("--newest", action="store_true", help="look for newer releases of them")
    fetch.add_argument("--stap", action="store_true", help="also what compiles SystemTap modules for them")
    fetch.set_defaults(act=_fetch)

    run = commands.add_parser("run", help="run a command in a guest")
    run.add_argument("--limit", type=float, default=600, help="seconds, boot included (600)")
    run.add_argument("series")
    run.add_argument("command", nargs="+", help="the command, after --")
    run.set_defaults(act=_run)

    stap = commands.add_parser("stap", help="compile a SystemTap script into a module for staprun in a guest")
    stap.add_argument("--limit", type=float, default=300, help="seconds (300)")
    stap.add_argument("series")
    stap.add_argument("script", type=Path)
    stap.add_argument("options", nargs="*", help="options for stap, after --")
    stap.set_defaults(act=_stap)
    return parser


def _fetch(options: argparse.Namespace) -> int:
    guest.need_programs()
    for series in options.series:
        kernel = kernels.fetch(series, newest=options.newest)
        print(kernel.image)
        if options.stap:
            systemtap.Compiler.of(kernel)
    return 0


def _run(options: argparse.Namespace) -> int:
    guest.need_programs()
    ended = guest.run(kernels.fetch(options.series), options.command, limit=options.limit, show=True)
    if ended.status is None:
        raise LabError(str(ended))
    return ended.status


def _stap(options: argparse.Namespace) -> int:
    compiler = systemtap.Compiler.of(kernels.fetch(options.series))
    text = options.script.read_text(encoding="utf-8")
    print(compiler.module(text, options.script.stem, *options.options, limit=options.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())

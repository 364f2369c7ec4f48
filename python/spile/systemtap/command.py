"""The command lines of SystemTap, as argument lists.

In: `StapOptions`, and what the session knows (the limits that its script needs, the target). Out: the arguments and
the environment of stap and staprun. No shell ever reads them, nothing here runs them, and no file is touched.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import SpecError
from .options import StapOptions

SCRIPT_ON_STDIN = "-"
"""The script goes in by standard input: it stands in no argument list that other users can read, no file needs to be
cleaned away, and its name is ``<input>`` always (a changing path would be part of what stap's cache compares)."""


@dataclass(frozen=True)
class Target:
    """Whom the script's ``target()`` names: a running process, or a command that staprun starts."""

    pid: int | None = None
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pid is not None and self.command:
            raise SpecError("a script has one target: a process or a command, not both", "target")

    def arguments(self) -> list[str]:
        """stap's options for it. staprun splits the command as a shell would, so its words are quoted."""
        if self.pid is not None:
            return ["-x", str(self.pid)]
        return ["-c", shlex.join(self.command)] if self.command else []


@dataclass(frozen=True)
class StapCommand:
    """One program to run: its arguments, and the variables that it needs beside the caller's own."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    reads_script: bool = True
    """Whether the script goes in by standard input."""

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The whole environment. Messages are in English, for they are parsed."""
        inherited = dict(os.environ if base is None else base)
        for name in ("LANGUAGE", "SYSTEMTAP_COLORS"):
            inherited.pop(name, None)
        return {**inherited, "LC_ALL": "C", **self.variables}

    def __str__(self) -> str:
        """As one would type it."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return " ".join([*words, shlex.join(self.arguments)])


@dataclass(frozen=True)
class Needs:
    """What a script needs of its stap; the user's own options win."""

    limits: Mapping[str, int | None] = field(default_factory=dict)
    """``-D``."""
    buffer: int | None = None
    """``-s``."""
    unwind: tuple[str, ...] = ()
    """``-d``."""
    ldd: bool = False
    """``--ldd``: the libraries of those, too."""
    values: Mapping[str, int] = field(default_factory=dict)
    """Of the script's globals, those that differ from run to run (``-G``): no part of what stap's cache compares."""


def run_command(
    options: StapOptions, needs: Needs | None = None, *, target: Target | None = None, output: str | None = None
) -> StapCommand:
    """What compiles the script and runs it; with ``options.module`` what runs that module.

    `output` is where bulk mode's files go: their names are `output` with ``_0``, ``_1``, … for the CPUs.
    """
    if options.bulk != (output is not None):
        raise SpecError("bulk mode needs a place for its files, and only bulk mode has one", "systemtap.bulk")
    needs = needs or Needs()
    if options.module is not None:
        return _module_command(options, needs, os.fspath(options.module), target, output)
    words = _compiling(options, needs)
    words += [word for name, value in needs.values.items() for word in ("-G", f"{name}={value}")]
    if options.remote is not None:
        words.append(f"--remote={options.remote}")
    if output is not None:
        words += ["-o", output.replace("%", "%%")]
    words += (target or Target()).arguments()
    return StapCommand((*words, SCRIPT_ON_STDIN), _variables(options))


MOST_NAME = 55
"""Bytes of a module's name: the kernel's limit, less the NUL."""


def compile_command(options: StapOptions, name: str, needs: Needs | None = None) -> StapCommand:
    """What compiles the script here into ``NAME.ko`` in the working folder, to run it elsewhere with staprun."""
    if not re.fullmatch(rf"[a-z0-9_]{{1,{MOST_NAME}}}", name):
        raise SpecError(
            f"a module's name has up to {MOST_NAME} small letters, digits and '_'; not {name!r}", "systemtap.module"
        )
    words = [*_compiling(options, needs or Needs()), "-p4", "-m", name]
    return StapCommand((*words, SCRIPT_ON_STDIN), _variables(options))


def _module_command(
    options: StapOptions, needs: Needs, module: str, target: Target | None, output: str | None
) -> StapCommand:
    # -R: a name of its own for each run, as stap itself does, so that the same module can run twice.
    words = [options.staprun, "-R", "-C", "never"]
    if options.buffer is not None:
        words += ["-b", str(options.buffer)]
    if output is not None:
        words += ["-o", output.replace("%", "%%")]
    words += (target or Target()).arguments()
    # A path, or staprun would look for it among the kernel's own modules.
    words.append(os.path.abspath(module))  # noqa: PTH100 (without resolving links)
    return StapCommand((*words, *(f"{name}={value}" for name, value in needs.values.items())), {}, reads_script=False)


def unload_command(options: StapOptions) -> StapCommand:
    """What removes a module whose staprun is gone; its name comes after it."""
    return StapCommand((options.staprun, "-d"), {}, reads_script=False)


def _compiling(options: StapOptions, needs: Needs) -> list[str]:
    # -v: which pass it is in, and every error (without it, those like the first are only counted).
    words = [options.stap, "-v", "--color=never"]
    if options.kernel is not None:
        words += ["-r", os.fspath(options.kernel)]
    if options.runtime is not None:
        words += ["-R", os.fspath(options.runtime)]
    for folder in options.tapsets:
        words += ["-I", os.fspath(folder)]
    buffer = needs.buffer if options.buffer is None else options.buffer
    if buffer is not None:
        words += ["-s", str(buffer)]
    words += [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in _defines(options, needs.limits)]
    words += [word for name, value in options.make.items() for word in ("-B", f"{name}={value}")]
    words += [word for name in dict.fromkeys((*needs.unwind, *options.unwind)) for word in ("-d", name)]
    if needs.ldd:
        words.append("--ldd")
    if options.suppress_errors:
        words.append("--suppress-handler-errors")
    switches = (
        (options.guru, "-g"),
        (not options.cache, "--disable-cache"),
        (options.bulk, "-b"),
        (options.timing, "-t"),
    )
    words += [word for wanted, word in switches if wanted]
    return words


def _defines(options: StapOptions, limits: Mapping[str, int | None]) -> list[tuple[str, int | str | None]]:
    chosen: dict[str, int | str | None] = {**limits, **options.defines}
    named = {
        "MAXSTRINGLEN": options.max_string,
        "MAXACTION": options.max_action,
        "MAXMAPENTRIES": options.max_map_entries,
    }
    chosen.update({name: value for name, value in named.items() if value is not None})
    return sorted(chosen.items())


def _variables(options: StapOptions) -> dict[str, str]:
    if not options.debuginfo:
        return {}
    # The usual places stay behind them. "+": a file whose build id fits needs no check of its CRC.
    folders = [*(os.fspath(folder) for folder in options.debuginfo), ".debug", "/usr/lib/debug", "build"]
    return {"SYSTEMTAP_DEBUGINFO_PATH": "+" + ":".join(folders)}

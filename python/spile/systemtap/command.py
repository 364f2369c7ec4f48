"""The command lines of SystemTap, as argument lists.

In: `StapOptions`, and what the session knows (the limits that its script needs, the target). Out: the arguments and
the environment of stap and staprun. No shell ever reads them, nothing here runs them, and no file is touched.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
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


def run_command(
    options: StapOptions,
    *,
    limits: Mapping[str, int | None] | None = None,
    target: Target | None = None,
    output: str | None = None,
    unwind: Sequence[str] = (),
) -> StapCommand:
    """What compiles the script and runs it; with ``options.module`` what runs that module.

    `limits` are the ``-D`` that the script needs; the options' own win. `output` is where bulk mode's files go (their
    names are `output` with ``_0``, ``_1``, …); `unwind` is what the script's stacks need.
    """
    if options.bulk != (output is not None):
        raise SpecError("bulk mode needs a place for its files, and only bulk mode has one", "systemtap.bulk")
    if options.module is not None:
        return module_command(options, os.fspath(options.module), target=target, output=output)
    words = [*_compiling(options, limits or {}, unwind)]
    if options.remote is not None:
        words.append(f"--remote={options.remote}")
    if output is not None:
        words += ["-b", "-o", output]
    words += (target or Target()).arguments()
    return StapCommand((*words, SCRIPT_ON_STDIN), _variables(options))


def compile_command(
    options: StapOptions,
    name: str,
    *,
    limits: Mapping[str, int | None] | None = None,
    unwind: Sequence[str] = (),
) -> StapCommand:
    """What compiles the script here into ``NAME.ko`` in the working folder, to run it elsewhere with staprun."""
    if not name.replace("_", "").isalnum() or not name.isascii() or name != name.lower() or len(name) > MOST_NAME:
        raise SpecError(
            f"a module's name has up to {MOST_NAME} small letters, digits and '_'; not {name!r}", "systemtap.module"
        )
    words = [*_compiling(options, limits or {}, unwind), *(["-b"] if options.bulk else []), "-p4", "-m", name]
    return StapCommand((*words, SCRIPT_ON_STDIN), _variables(options))


MOST_NAME = 55
"""Bytes of a module's name: the kernel's limit, less the NUL."""


def module_command(
    options: StapOptions, module: str, *, target: Target | None = None, output: str | None = None
) -> StapCommand:
    """What loads and runs a module that was compiled before."""
    # -R: a name of its own for each run, as stap itself does, so that the same module can run twice.
    words = [options.staprun, "-R", "-C", "never"]
    if options.buffer is not None:
        words += ["-b", str(options.buffer)]
    if output is not None:
        words += ["-o", output]
    words += (target or Target()).arguments()
    return StapCommand((*words, module), {}, reads_script=False)


def unload_command(options: StapOptions) -> StapCommand:
    """What removes a module whose staprun is gone; its name comes after it."""
    return StapCommand((options.staprun, "-d"), {}, reads_script=False)


def _compiling(options: StapOptions, limits: Mapping[str, int | None], unwind: Sequence[str]) -> list[str]:
    # -v: which pass it is in, and every error (without it, those like the first are only counted).
    words = [options.stap, "-v", "--color=never"]
    if options.kernel is not None:
        words += ["-r", os.fspath(options.kernel)]
    if options.runtime is not None:
        words += ["-R", os.fspath(options.runtime)]
    for folder in options.tapsets:
        words += ["-I", os.fspath(folder)]
    if options.buffer is not None:
        words += ["-s", str(options.buffer)]
    words += [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in _defines(options, limits)]
    words += [word for name, value in options.make.items() for word in ("-B", f"{name}={value}")]
    words += [word for name in dict.fromkeys((*unwind, *options.unwind)) for word in ("-d", name)]
    if options.suppress_errors:
        words.append("--suppress-handler-errors")
    if options.guru:
        words.append("-g")
    if not options.cache:
        words.append("--disable-cache")
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

"""What a user may tell stap: `Session(engine="systemtap", systemtap=StapOptions(...))`.

In: keyword arguments. Out: a frozen, checked value that `command.py` turns into an argument list. Nothing here runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SpecError

Path_ = str | os.PathLike[str]

MOST_BUFFER = 4095
"""Megabytes; the most that staprun takes."""

# stap's own pattern for -D, made a little narrower (`cmdline.cxx`: "Safety pattern mismatch").
_DEFINE = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")
_VALUE = re.compile(r"-?[A-Za-z_0-9]+\Z")
_RELEASE = re.compile(r"[A-Za-z0-9_.+~/-]+\Z")


@dataclass(frozen=True)
class StapOptions:
    """How stap is run. Each default is stap's own, or the one that loses least.

    Raises SpecError, naming the field, for what stap would refuse or misread.
    """

    buffer: int | None = None
    """Megabytes of the kernel's buffer for each CPU (``-s``); stap's own is 16."""
    max_string: int | None = None
    """Bytes of a string in the script, its NUL included (``-DMAXSTRINGLEN``); longer ones are cut."""
    max_action: int | None = None
    """Statements that one probe may execute (``-DMAXACTION``)."""
    max_map_entries: int | None = None
    """Entries of an array (``-DMAXMAPENTRIES``), of which a table keeps its counts between two dumps."""
    defines: Mapping[str, int | str | None] = field(default_factory=dict)
    """Other limits, ``-DNAME=VALUE``: ``{"MAXTRACE": 40, "STP_NO_OVERLOAD": None}``."""
    suppress_errors: bool = True
    """A handler that fails is counted and the script goes on (``--suppress-handler-errors``)."""
    dwarf: bool = True
    """Functions are found by the kernel's debuginfo, which names their arguments; else by the table of its symbols."""
    guru: bool = False
    """Lets the script hold embedded C (``-g``). spile's own scripts hold none."""
    bulk: bool = False
    """A stream for each CPU, put in the order of time here, in place of one (``-b``)."""
    timing: bool = False
    """SystemTap times its probes (``-t``), and says whose hits the kernel missed, which else is one number for all."""
    cache: bool = True
    """Whether stap may use again the module of the same script (``--disable-cache`` otherwise)."""
    kernel: Path_ | None = None
    """The kernel's release, or its build tree (``-r``); the running one's otherwise."""
    runtime: Path_ | None = None
    """The folder of SystemTap's runtime sources (``-R``)."""
    debuginfo: tuple[Path_, ...] = ()
    """Folders with kernel debuginfo, looked through before the usual ones (``SYSTEMTAP_DEBUGINFO_PATH``)."""
    tapsets: tuple[Path_, ...] = ()
    """More folders of tapsets (``-I``)."""
    make: Mapping[str, str] = field(default_factory=dict)
    """Variables for the kernel's makefiles (``-B NAME=VALUE``)."""
    unwind: tuple[str, ...] = ()
    """Modules and programs whose stacks shall be unwound (``-d``). For `ustack` the traced program is one of them by
    itself, and a program's libraries come along."""
    remote: str | None = None
    """Where the module is to run (``--remote``): ``"ssh://user@host"``, ``"unix:/path/socket"``. stap drops what a
    script prints at its end there, so a stop first waits until it has told all that it holds: up to two intervals."""
    module: Path_ | None = None
    """A module compiled before (`compile_module`), run by staprun in place of compiling one."""
    start_timeout: float = 900.0
    """Seconds until the probes must be attached, compiling included; then stap is ended."""
    stap: str = "stap"
    """The program that compiles."""
    staprun: str = "staprun"
    """The program that loads modules."""

    def __post_init__(self) -> None:
        _check_number(self, "buffer", 1, MOST_BUFFER)
        _check_number(self, "max_string", 16, 1 << 20)
        _check_number(self, "max_action", 1, (1 << 31) - 1)
        _check_number(self, "max_map_entries", 1, (1 << 31) - 1)
        if not self.start_timeout > 0:
            raise _refused("start_timeout", "seconds, more than 0", self.start_timeout)
        for name, value in self.defines.items():
            if not _DEFINE.match(str(name)):
                raise _refused("defines", "names such as 'MAXTRACE'", name)
            if value is not None and (isinstance(value, bool) or not _VALUE.match(str(value))):
                raise _refused(f"defines[{name!r}]", "a number or a word, or None for none", value)
        for name, value in self.make.items():
            if not _DEFINE.match(str(name)) or not _one_word(value):
                raise _refused("make", "variables such as {'CONFIG_DEBUG_INFO': 'y'}", {name: value})
        for name in ("kernel", "runtime", "module"):
            if (value := getattr(self, name)) is not None:
                _check_path(name, value)
        if self.kernel is not None and not _RELEASE.match(os.fspath(self.kernel)):
            raise _refused("kernel", "a release such as '6.1.0-32-amd64' or a build tree's path", self.kernel)
        for name in ("debuginfo", "tapsets", "unwind"):
            for value in _tuple(self, name):
                _check_path(name, value)
        for name in ("stap", "staprun", "remote"):
            value = getattr(self, name)
            if value is not None and (not _one_word(value) or value.startswith("-")):
                raise _refused(name, "one word", value)
        if any(":" in os.fspath(folder) for folder in self.debuginfo):
            raise _refused("debuginfo", "paths without ':'", self.debuginfo)
        if self.module is not None:
            self._check_module()
        if self.bulk and self.remote is not None:
            raise SpecError(
                "bulk=True writes its files where the script runs, out of reach with remote=: leave one out",
                "systemtap.bulk",
            )

    def _check_module(self) -> None:
        """A module's limits were fixed when it was compiled; only what staprun takes may go with it."""
        for name in ("max_string", "max_action", "max_map_entries", "kernel", "runtime", "remote"):
            if getattr(self, name) is not None:
                raise SpecError(
                    f"{name}= was settled when {os.fspath(self.module or '')} was compiled: leave it out, "
                    "or compile again",
                    f"systemtap.{name}",
                )
        if Path(os.fspath(self.module or "")).suffix != ".ko":
            raise _refused("module", "a kernel module's path, NAME.ko", self.module)


def _refused(name: str, wanted: str, value: object) -> SpecError:
    return SpecError(f"{name} must be {wanted}; not {value!r}", f"systemtap.{name}")


def _check_number(options: StapOptions, name: str, least: int, most: int) -> None:
    value = getattr(options, name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise _refused(name, f"a whole number from {least} to {most}", value)


def _tuple(options: StapOptions, name: str) -> tuple[Any, ...]:
    value = getattr(options, name)
    if isinstance(value, str | os.PathLike) or not isinstance(value, tuple | list):
        raise _refused(name, "a list of paths", value)
    object.__setattr__(options, name, tuple(value))
    return tuple(value)


def _check_path(name: str, value: object) -> None:
    if not isinstance(value, str | os.PathLike) or not _one_word(os.fspath(value)) or os.fspath(value).startswith("-"):
        raise _refused(name, "a path", value)


def _one_word(value: object) -> bool:
    """Something that can be an argument: not empty, without NUL or a line's end."""
    return isinstance(value, str) and bool(value) and not any(letter in value for letter in "\0\n")

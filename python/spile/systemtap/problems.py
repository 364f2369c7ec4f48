"""What stap said, as spile's own errors, warnings and numbers.

In: the messages of a stap that has ended, and how it ended. Out: one typed exception (all of stap's errors together),
warnings, and `StapLosses`. Each error says what is missing and how to get it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import EngineError, Error, FieldNotFound, PrivilegeError, ProbeNotFound, Unsupported
from ..near import alternatives, proposal
from .messages import Kind, Message, Reader

if TYPE_CHECKING:
    from .options import StapOptions
    from .process import Ended


_MISSED = re.compile(r"missed k(?:ret)?probe\S* on '(?P<point>k\w+\.function\(\"(?P<name>\w+)[^\"]*\"\)[\w.]*)'")


@dataclass(frozen=True)
class StapLosses:
    """What SystemTap says that it lost, since the start. It says so when it ends, and of no single probe."""

    transport: int = 0
    """Prints that found no room in the kernel's buffer (raise ``buffer=``)."""
    skipped: int = 0
    """Hits that were skipped: nested in another probe, or missed by the kernel."""
    errors: int = 0
    """Handlers that failed half way: a fault, too many statements, a full array."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Of the skipped ones, how many for which reason, where stap knows."""

    @property
    def missed(self) -> dict[tuple[str, bool], int]:
        """Of the skipped ones, those that the kernel missed: by the function, and whether at its return. Told by -t."""
        told: dict[tuple[str, bool], int] = {}
        for reason, count in self.reasons.items():
            if found := _MISSED.fullmatch(reason):
                place = found["name"], found["point"].endswith(".return")
                told[place] = told.get(place, 0) + count
        return told


def losses_of(reader: Reader) -> StapLosses:
    """The numbers in what was said."""
    counts = [message for message in reader.messages() if message.kind is Kind.COUNTS]
    return StapLosses(
        transport=sum(message.count for message in reader.messages() if message.kind is Kind.TRANSPORT),
        skipped=sum(message.skipped for message in counts),
        errors=sum(message.count for message in counts),
        reasons={message.name: message.count for message in reader.messages() if message.kind is Kind.SKIPPED},
    )


def packages(options: StapOptions) -> str:
    """What to install."""
    release = _release(options)
    return (
        "install SystemTap, a compiler and this kernel's headers "
        f"(Debian: apt-get install systemtap gcc make linux-headers-{release}; "
        f"Fedora: dnf install systemtap gcc make kernel-devel-{release}), "
        "or use the embedded engine: engine='bpf'"
    )


def warnings_of(reader: Reader, ended: Ended | None) -> tuple[str, ...]:
    """What went otherwise than asked, though the script ran."""
    said = [message.text for message in reader.messages() if message.kind is Kind.NOT_ATTACHED]
    if ended is not None:
        if ended.killed and ended.passed >= 4:
            said.append("stap had to be killed: what its end probes print, the last tables and counts, is lost")
        elif ended.killed:
            said.append("stap had to be killed while it compiled; should it fail from now on, empty ~/.systemtap/cache")
        said += [
            f"the kernel module {name} is still loaded: unload it with 'staprun -d {name}'" for name in ended.module
        ]
    if reader.unread:
        said.append(f"stap said more than is kept: {reader.unread} messages were dropped")
    return tuple(said)


def problem_of(reader: Reader, ended: Ended, options: StapOptions) -> Error | None:
    """Why stap ended by itself; None where it ended as it should."""
    if ended.late:
        return _late(reader, ended, options)
    found = _errors(reader, options)
    if ended.returncode == 0 and not any(message.kind in _FATAL for message in reader.messages()):
        return None
    if not found and any(message.kind is Kind.TARGET for message in reader.messages()):
        return None  # the traced command's failure is no failure of the tracing
    if ended.asked and (ended.killed or ended.passed < 4 or not found):
        return None
    return _several(found) if found else _unexplained(reader, ended, options)


def _several(found: list[Error]) -> Error:
    """All of them as one: of their own class if they are all of one."""
    if len(found) == 1:
        return found[0]
    first = type(found[0])
    kind = first if all(type(error) is first for error in found) else Error
    return kind("\n".join(error.message for error in found), errors=tuple(error.message for error in found))


def _errors(reader: Reader, options: StapOptions) -> list[Error]:
    """The most telling errors: what kept stap from working at all first, then what the script says wrongly."""
    messages = reader.messages()
    first = next((message.kind for message in messages if message.kind in _NAMES or message.kind is Kind.REFUSED), None)
    # Whichever of the two comes first is the cause of the other.
    script = (_REFUSED, _NAMES) if first is Kind.REFUSED else (_NAMES, _REFUSED)
    for kinds in (*_BEFORE, *script, *_AFTER):
        made = [_EXPLAIN[message.kind](message, reader, options) for message in messages if message.kind in kinds]
        if made:
            # Of what follows from one cause the first says most; names are looked up one by one.
            return list({error.message: error for error in made}.values()) if kinds is _NAMES else made[:1]
    return []


def _unexplained(reader: Reader, ended: Ended, options: StapOptions) -> Error:
    failed = next((message for message in reader.messages() if message.kind is Kind.PASS_FAILED), None)
    if failed is not None and failed.count == 4:
        missing = [program for program in ("make", "gcc") if shutil.which(program) is None]
        if missing:
            return Unsupported(f"stap can't compile without {' and '.join(missing)}: {packages(options)}")
    if ended.returncode is None:
        how = "was lost with the process that watched over it"
    elif ended.returncode < 0:
        how = f"was killed by {signal.Signals(-ended.returncode).name}"
    else:
        how = f"ended with status {ended.returncode}"
    return EngineError(f"stap {how} {_during(reader.passed)}", reader.log())


def _late(reader: Reader, ended: Ended, options: StapOptions) -> Error:
    return EngineError(
        f"stap had not attached the probes after {options.start_timeout:g} s, {_during(ended.passed)}: "
        "raise start_timeout=, or probe less",
        reader.log(),
    )


_PASSES = {
    0: "while it parsed the script (pass 1)",
    1: "while it looked the probes up (pass 2)",
    2: "while it wrote C (pass 3)",
    3: "while it compiled (pass 4)",
}


def _during(passed: int) -> str:
    return _PASSES.get(passed, "while the script ran (pass 5)")


def _release(options: StapOptions) -> str:
    return os.fspath(options.kernel) if options.kernel is not None else platform.release()


def _line(message: Message) -> str:
    """Where the mistake is: in the user's own file, if that is known."""
    if message.declared is not None:
        return f" ({message.declared})"
    return f" (line {message.line} of the script)" if message.line is not None else ""


# One for each kind of error -------------------------------------------------------------------------------------------


def _no_match(message: Message, reader: Reader, options: StapOptions) -> Error:
    blocked = {told.name for told in reader.messages() if told.kind is Kind.BLOCKED}
    if message.name in blocked:
        return ProbeNotFound(f"the kernel lets nobody probe the function {message.name!r}{_line(message)}")
    if message.near and message.name in message.near:
        return ProbeNotFound(
            f"the function {message.name!r} is inlined everywhere or can't be probed{_line(message)}: "
            "probe one that calls it"
        )
    what, hint = "function", proposal(message.name, message.near)
    if f'module("{message.name}")' in reader.log():
        what = "module with debuginfo"
    elif f'process("{message.name}")' in reader.log():
        what = "program"
    elif not message.near and "symbol table missing" in reader.log():
        hint = (
            f"; stap found no table of this kernel's functions (System.map or debuginfo) for {_release(options)}: "
            "without one it knows none"
        )
    return ProbeNotFound(f"there is no {what} {message.name!r} to probe{hint}{_line(message)}")


def _no_such_probe(message: Message, _reader: Reader, _options: StapOptions) -> Error:
    return ProbeNotFound(
        f"stap knows no probe point with {message.name!r}{alternatives(message.name, message.near)}{_line(message)}"
    )


def _no_field(message: Message, _reader: Reader, _options: StapOptions) -> Error:
    of = re.search(r"for (struct \w+|union \w+)| in (\w+) \S+\.[chS] ", message.text)
    where = f" in {of[1] or of[2]}" if of else ""
    return FieldNotFound(
        f"there is no {message.name!r}{where}{alternatives(message.name, message.near)}{_line(message)}"
    )


def _no_debuginfo(message: Message, _reader: Reader, options: StapOptions) -> Error:
    # stap looks there for a remote kernel's, by the release that it says, and where it was told of a release.
    looked = re.search(r"under '/lib/modules/([^/']+)/build'", message.text)
    release = looked[1] if looked else _release(options)
    need = "arguments and most functions need the debuginfo of kernel"
    folder = "name its folder: systemtap=StapOptions(debuginfo=['DIR/usr/lib/debug'])"
    if "/" in release:
        return Unsupported(f"{need} {release}, which is not here: put its vmlinux there, or {folder}")
    other = ""
    if options.remote is not None and "/" in _release(options):
        other = (
            f". The remote kernel is {release}, and kernel={_release(options)!r} is for another one, by its "
            "include/config/kernel.release: stap did not look there"
        )
    return Unsupported(
        f"{need} {release}, which is not here: install it "
        f"(Debian: linux-image-{release}-dbg; Fedora: debuginfo-install kernel-{release}), or {folder}{other}"
    )


def _no_headers(message: Message, _reader: Reader, options: StapOptions) -> Error:
    release = found[1] if (found := re.search(r"/lib/modules/([^/]+)/", message.name)) else _release(options)
    return Unsupported(
        f"stap needs the headers of kernel {release}, which are not here: install them "
        f"(Debian: linux-headers-{release}; Fedora: kernel-devel-{release}), or name another kernel's: "
        "systemtap=StapOptions(kernel=...)"
    )


def _privilege(_message: Message, reader: Reader, _options: StapOptions) -> Error:
    group = found[1] if (found := re.search(r"\((stap\w+) required\)", reader.log())) else "stapdev"
    return PrivilegeError(
        f"stap loads a kernel module, and this user may not: be root, or join the group {group} "
        f"(usermod -a -G {group},stapusr USER, then log in again)"
    )


def _signature(_message: Message, reader: Reader, _options: StapOptions) -> Error:
    return Unsupported(
        "this kernel loads signed modules only (Secure Boot, lockdown), and stap has no key: enrol one "
        f"(man stap, SECUREBOOT), or use the embedded engine: engine='bpf'\n{reader.log()}".rstrip()
    )


def _not_loaded(message: Message, reader: Reader, options: StapOptions) -> Error:
    text = reader.log()
    if re.search(r"Key was rejected|Required key not available", text):
        return _signature(message, reader, options)
    if "Operation not permitted" in text:
        return PrivilegeError("the kernel lets nobody here load modules (CAP_SYS_MODULE, lockdown); root can't either")
    if re.search(r"Invalid module format|mismatch", text):
        return EngineError(f"the module was compiled for another kernel than {platform.release()}: compile again", text)
    return EngineError(f"the module could not be loaded: {message.text.removeprefix('ERROR: ')}", text)


def _not_compiled(message: Message, reader: Reader, options: StapOptions) -> Error:
    return EngineError(
        f"SystemTap's runtime does not compile with the headers of kernel {_release(options)}: most often that kernel "
        "is newer than this SystemTap. A newer SystemTap, or its runtime folder (systemtap=StapOptions(runtime=...)), "
        f"helps; first error: {message.text.splitlines()[0]}",
        reader.log(),
    )


def _refused(message: Message, reader: Reader, _options: StapOptions) -> Error:
    text, remedy = message.text, ""
    if "need stap -g" in text:
        remedy = "; systemtap=StapOptions(guru=True) allows it"
    elif message.near:
        text, remedy = f"there is no function {message.name!r} in its language", proposal(message.name, message.near)
    elif "no probes found" in text:
        remedy = "; the kernel lets nobody probe what it names"
    return EngineError(f"stap refuses the script{_line(message)}: {text}{remedy}", reader.log())


def _worded(text: str) -> Callable[[Message, Reader, StapOptions], Error]:
    return lambda message, reader, _options: EngineError(
        text.format(said=message.text.removeprefix("ERROR: "), count=message.count)
        + (f" ({message.declared})" if message.declared is not None else ""),
        reader.log(),
    )


_EXPLAIN: dict[Kind, Callable[[Message, Reader, StapOptions], Error]] = {
    Kind.PRIVILEGE: _privilege,
    Kind.SIGNATURE: _signature,
    Kind.NO_HEADERS: _no_headers,
    Kind.NO_DEBUGINFO: _no_debuginfo,
    Kind.NO_MATCH: _no_match,
    Kind.NO_SUCH_PROBE: _no_such_probe,
    Kind.NO_FIELD: _no_field,
    Kind.REFUSED: _refused,
    Kind.NOT_COMPILED: _not_compiled,
    Kind.NOT_LOADED: _not_loaded,
    Kind.OPTION: _worded("stap refuses its command line: {said}"),
    Kind.OVERLOAD: _worded(
        "SystemTap ended the script, for its probes took too much of a CPU ({said}): filter more, count in place of "
        "sending, or switch that guard off: systemtap=StapOptions(defines={{'STP_NO_OVERLOAD': None}})"
    ),
    Kind.TOO_MANY_SKIPPED: _worded(
        "SystemTap ended the script, for it skipped too many hits ({said}): probe less, or "
        "systemtap=StapOptions(suppress_errors=True)"
    ),
    Kind.MAXACTION: _worded(
        "a handler executed too many statements ({said}): capture less, or raise systemtap=StapOptions(max_action=...)"
    ),
    Kind.FULL_ARRAY: _worded(
        "a table of the script was full ({said}): dump it more often (interval=), or raise "
        "systemtap=StapOptions(max_map_entries=...)"
    ),
    Kind.FAILED: _worded("the script failed: {said}"),
}
_BEFORE = tuple(
    frozenset({kind})
    for kind in (Kind.PRIVILEGE, Kind.SIGNATURE, Kind.NO_HEADERS, Kind.NO_DEBUGINFO, Kind.NOT_COMPILED, Kind.OPTION)
)
_NAMES = frozenset({Kind.NO_MATCH, Kind.NO_SUCH_PROBE, Kind.NO_FIELD})
_REFUSED = frozenset({Kind.REFUSED})
_AFTER = (
    frozenset({Kind.NOT_LOADED}),
    frozenset({Kind.OVERLOAD, Kind.TOO_MANY_SKIPPED, Kind.MAXACTION, Kind.FULL_ARRAY}),
    frozenset({Kind.FAILED}),
)
_FATAL = frozenset({Kind.OVERLOAD, Kind.TOO_MANY_SKIPPED})
"""Errors that end the script, whatever status stap then ends with."""

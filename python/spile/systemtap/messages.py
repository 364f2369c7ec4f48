"""What stap and staprun say on stderr, line by line, as typed messages.

In: bytes, in pieces of any size. Out: `Message`s: what kind, where in the script, which names, how many. Bounded: of a
flood only the first and last lines are kept, the rest is counted. Nothing here decides what is an exception.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum


class Kind(Enum):
    """What a message is about."""

    PASS = "pass"  # progress: a pass has ended
    NO_MATCH = "no match"  # a probe point names a function that isn't there
    NO_SUCH_PROBE = "no such probe"  # a kind of probe point that stap doesn't know
    NO_FIELD = "no field"  # a target variable or a member that isn't there
    REFUSED = "refused"  # any other parse or semantic error
    NO_DEBUGINFO = "no debuginfo"
    NO_HEADERS = "no headers"
    NOT_COMPILED = "not compiled"  # the C compiler's own errors
    PASS_FAILED = "pass failed"
    PRIVILEGE = "privilege"
    NOT_LOADED = "not loaded"  # the kernel or staprun refused the module
    SIGNATURE = "signature"  # the kernel wants signed modules
    OPTION = "option"  # a bad command line
    OVERLOAD = "overload"
    TOO_MANY_SKIPPED = "too many skipped"
    TRANSPORT = "transport"  # counts of what the transport lost
    COUNTS = "counts"  # errors, skipped probes
    SKIPPED = "skipped"  # why probes were skipped
    BLOCKED = "blocked"  # a function that nobody may probe
    TARGET = "target"  # the command that staprun started has ended badly
    NOT_ATTACHED = "not attached"  # one probe could not be registered; the others run
    MAXACTION = "maxaction"
    FULL_ARRAY = "full array"
    FAILED = "failed"  # a handler's error, and any other ERROR
    WARNING = "warning"
    OTHER = "other"


@dataclass(frozen=True)
class Message:
    """One message, its continuation lines included."""

    kind: Kind
    text: str
    """As it was said, without the pointers into the source."""
    line: int | None = None
    """The line of the script, from 1."""
    column: int | None = None
    name: str = ""
    """What is not there, or what it is about: a function, a variable, a package's file."""
    near: tuple[str, ...] = ()
    """The names that stap proposes, nearest first."""
    count: int = 0
    skipped: int = 0
    declared: str | None = None
    """Whose line it is: which probe, and where the user declared it."""


_RULES: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        (Kind.PASS, r"Pass (?P<count>\d): (?!.*(?:failed|error))"),
        (Kind.PASS_FAILED, r"Pass (?P<count>\d): .*failed"),
        (Kind.NO_DEBUGINFO, r"semantic error: missing \S+ (?P<name>\S+) debuginfo"),
        (Kind.NO_FIELD, r"semantic error: unable to find (?:local|member|global) '(?P<name>[^']*)'"),
        (Kind.NO_MATCH, r"semantic error: no match"),
        (Kind.NO_SUCH_PROBE, r"semantic error: probe point mismatch.*: identifier '(?P<name>[^']*)'"),
        (Kind.NO_MATCH, r"semantic error: while resolving probe point"),
        (Kind.REFUSED, r"semantic error: unresolved function (?P<name>\S+)"),
        (Kind.OTHER, r"semantic error: resolution failed in "),  # said before the reason
        (Kind.REFUSED, r"(?:semantic|parse) error: "),
        (Kind.NO_HEADERS, r'Checking "(?P<name>[^"]*)" failed'),
        (Kind.PRIVILEGE, r"(?:ERROR: )?You are trying to (?:run systemtap|load the module .*) as a normal user"),
        (Kind.PRIVILEGE, r"(?:ERROR: )?Your privilege credentials"),
        (Kind.PRIVILEGE, r"ERROR: (?:Members of the \"stapusr\"|Unable to verify the signature|The effective user ID)"),
        (Kind.SIGNATURE, r"(?:Failed to get list of machine owner keys|.*requires module signing)"),
        (Kind.NOT_LOADED, r"ERROR: Couldn't insert module '(?P<name>[^']*)'"),
        (
            Kind.NOT_LOADED,
            r"ERROR: (?:module (?:release|version) mismatch|Rerun with staprun option|Unable to canonicalize)",
        ),
        (Kind.OPTION, r"(?:ERROR: Safety pattern mismatch|stap: |staprun: |Input file |ERROR: Invalid )"),
        (Kind.OVERLOAD, r"ERROR: probe overhead \((?P<count>\d+) cycles\) exceeded threshold"),
        (Kind.TOO_MANY_SKIPPED, r"ERROR: Skipped too many probes"),
        (Kind.TRANSPORT, r"WARNING: There were (?P<count>\d+) (?:transport failures|lost messages)"),
        (Kind.COUNTS, r"WARNING: Number of errors: (?P<count>\d+), skipped probes: (?P<skipped>\d+)"),
        (Kind.SKIPPED, r"WARNING: Skipped due to (?P<name>.*): (?P<count>\d+)"),
        (Kind.TARGET, r"WARNING: Child process exited with (?:status|signal) (?P<count>\d+)"),
        (Kind.BLOCKED, r"WARNING: function (?P<name>\S+) is blocklisted"),
        (Kind.NOT_ATTACHED, r"WARNING: probe (?P<name>.*?) \(.*registration error"),
        (Kind.NOT_ATTACHED, r"WARNING: (?:Probe '(?P<name>[^']*)' has been elided|cannot probe)"),
        (Kind.MAXACTION, r"ERROR: MAXACTION exceeded"),
        (Kind.FULL_ARRAY, r"ERROR: (?:Array overflow|aggregation overflow in '?(?P<name>\w*))"),
        (Kind.NOT_COMPILED, r"\S+:\d+:(?:\d+:)? (?:fatal )?error: |WARNING: kbuild exited|make(?:\[\d+\])?: \*\*\*"),
        (Kind.FAILED, r"ERROR: "),
        (Kind.WARNING, r"WARNING: "),
    )
)
_NEAR = re.compile(r"\((?:similar functions|similar|alternatives): (?P<names>[^()]*)\)")
_PLACE = re.compile(r" at (?:<input>|[^\s:]*):(?P<line>\d+):(?P<column>\d+)")
_SOURCE = re.compile(r"\s+source: (?P<source>.*)", re.DOTALL)
_TARGET = re.compile(
    r'\.\s*(?:function|statement|trace|mark)\("(?P<name>[^"]*)"\)|(?:module|process)\("(?P<other>[^"]*)"\)'
)
_GCC = re.compile(r"\s*(?:\d+ )?\s*\|")


class Reader:
    """Stderr, as it comes: `feed` it, then ask for `messages` and `log`."""

    MOST_MESSAGES = 1000
    MOST_LINES = 200
    LONGEST_LINE = 16 << 10

    def __init__(self, passed: int = 0, declared: Callable[[int], str | None] | None = None) -> None:
        """`passed` is what was done before: 4 where the module is there already; `declared` knows whose a line is."""
        self._declared = declared
        self._rest = b""
        self._cutting = False
        self._block: list[str] = []
        self._place: Message | None = None
        self._messages: list[Message] = []
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=self.MOST_LINES)
        self.lines = 0
        """Lines seen."""
        self.unread = 0
        """Messages beyond the most that are kept; the counts among them are kept all the same."""
        self.passed = passed
        """The last pass of stap's that has ended."""

    def feed(self, data: bytes) -> None:
        """Takes what was read from the pipe."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._cutting:
                self._cutting = False
                continue
            self._line(line)
        if len(rest) > self.LONGEST_LINE:
            if not self._cutting:
                self._line(rest[: self.LONGEST_LINE])
            self._cutting, rest = True, b""
        self._rest = rest

    def close(self) -> None:
        """The pipe has ended."""
        if self._rest and not self._cutting:
            self._line(self._rest)
        self._rest = b""
        self._flush()

    def messages(self) -> tuple[Message, ...]:
        """What has been said so far, but for a last message that may not be complete yet."""
        return tuple(self._messages)

    def log(self) -> str:
        """The text, its middle left out where it is long."""
        left_out = self.lines - len(self._first) - len(self._last)
        gap = [f"… {left_out} lines …"] if left_out else []
        return "\n".join([*self._first, *gap, *self._last])

    def _line(self, raw: bytes) -> None:
        line = raw[: self.LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        self.lines += 1
        if len(self._first) < self.MOST_LINES:
            self._first.append(line)
        else:
            self._last.append(line)
        if not line.strip():
            return
        # Continuation lines are indented; the compiler's quotations of the source belong to its own message.
        if self._block and (line[0].isspace() or _GCC.match(line)):
            if len(self._block) < 8:
                self._block.append(line)
            return
        self._flush()
        self._block = [line]
        if line.startswith("Pass "):  # nothing belongs to it, and the next line may come in a minute
            self._flush()

    def _flush(self) -> None:
        if not self._block:
            return
        message = parse(self._block)
        self._block = []
        if message.text.startswith("semantic error: while resolving probe point"):
            # What is wrong with it comes next; where it is similar to one before, nothing does.
            self._add(self._place)
            self._place = message
            return
        if self._place is not None:
            if message.kind in _CAUSES:
                message = _placed(message, self._place)
            else:
                self._add(self._place)
            self._place = None
        self._add(message)

    def _add(self, message: Message | None) -> None:
        if message is None:
            return
        if message.kind is Kind.PASS:
            self.passed = max(self.passed, min(message.count, 4))  # of pass 5 it says the start
        elif message.kind is Kind.PASS_FAILED:  # which stap says after it has said how long the pass took
            self.passed = min(self.passed, message.count - 1)
        if message.line is not None and self._declared is not None:
            message = replace(message, declared=self._declared(message.line))
        if len(self._messages) < self.MOST_MESSAGES or message.kind in _COUNTED:
            self._messages.append(message)
        else:
            self.unread += 1


_CAUSES = frozenset({Kind.NO_MATCH, Kind.NO_SUCH_PROBE, Kind.NO_FIELD, Kind.REFUSED, Kind.NO_DEBUGINFO})
_COUNTED = frozenset({Kind.TRANSPORT, Kind.COUNTS, Kind.SKIPPED})


def parse(block: list[str]) -> Message:
    """One message from its lines."""
    head = block[0]
    kind, found = next(
        ((kind, match) for kind, pattern in _RULES if (match := pattern.match(head))), (Kind.OTHER, None)
    )
    groups = found.groupdict() if found else {}
    line, column = _place(block)
    near = _NEAR.search(head)
    name = groups.get("name") or ""
    if not name and kind is Kind.NO_MATCH:
        name = _named(block, column)
    return Message(
        kind,
        _text(block),
        line,
        column,
        name.removeprefix("$"),
        tuple(word.strip().removeprefix("$") for word in near["names"].split(",")) if near else (),
        int(groups.get("count") or 0),
        int(groups.get("skipped") or 0),
    )


def _place(block: list[str]) -> tuple[int | None, int | None]:
    for text in block:
        if not _SOURCE.match(text) and (found := _PLACE.search(text)):
            return int(found["line"]), int(found["column"])
    return None, None


def _named(block: Iterable[str], column: int | None) -> str:
    """The function that the probe point at that column names, from the quoted line of the script."""
    for text in block:
        if found := _SOURCE.match(text):
            named = _TARGET.search(found["source"], max(0, (column or 1) - 1))
            return (named["name"] or named["other"] or "") if named else ""
    return ""


def _placed(cause: Message, place: Message) -> Message:
    name = cause.name or (place.name if cause.kind is Kind.NO_MATCH else "")
    return Message(cause.kind, cause.text, place.line, place.column, name, cause.near, cause.count, cause.skipped)


def _text(block: list[str]) -> str:
    kept = [block[0], *(line.strip() for line in block[1:] if line.strip() != "^" and not _SOURCE.match(line))]
    return re.sub(r"\s*\[man [a-z:0-9]+\]", "", "\n".join(kept))

"""What a probe is attached to.

In: ``"sched:sched_switch"``, a list, a pattern such as ``"sched:sched_wakeup*"``, a rate; or the command line's form,
``"tracepoint:sched:sched_switch"``. Out: the spec's targets, checked for their form. Whether they exist is asked when
a session starts or is checked; only then are patterns resolved, by a callable that the session gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from spile.errors import ProbeNotFound, SpecError, Unsupported
from spile.expr.literal import is_integer
from spile.expr.operand import described
from spile.near import proposal
from spile.spec import Function, FunctionReturn, Profile, RawTracepoint, Target, Tracepoint

#: Gives the spellings (without the kind) that match a shell pattern: ``resolve("tracepoint", "sched:*")``.
Resolver = Callable[[str, str], Sequence[str]]

KINDS = ("tracepoint", "raw_tracepoint", "profile", "function", "function_return")
_LATER = {
    "syscall": "system calls by name",
    "syscall_return": "system calls' returns by name",
    "uprobe": "functions of programs",
    "uprobe_return": "functions' returns of programs",
    "usdt": "static probes of programs",
    "software": "software counters",
    "hardware": "hardware counters",
    "interval": "intervals",
}
#: What other tools call them.
_ALIASES = {
    **dict.fromkeys(("t", "tp"), "tracepoint"),
    **dict.fromkeys(("rt", "rawtracepoint", "tp_btf", "raw_tp"), "raw_tracepoint"),
    **dict.fromkeys(("kprobe", "k", "fentry", "kfunc"), "function"),
    **dict.fromkeys(("kretprobe", "kr", "fexit", "kretfunc"), "function_return"),
    **dict.fromkeys(("uretprobe", "ur"), "uprobe_return"),
    **dict.fromkeys(("p",), "profile"),
}
_WILD = "*?["
_NAME = re.compile(r"[\w.*?\[\]!-]+", re.ASCII)
_FUNCTION = re.compile(r"(?:\w+:)?(?:[\w.*?]|\[[!^]?[\w.-]+\])+", re.ASCII)
#: More samples a second and CPU than a kernel gives (`kernel.perf_event_max_sample_rate`).
MAX_HZ = 100_000
DEFAULT_HZ = 99


#: ``"*"``, or ``"*:*"``.
EVERYTHING = Tracepoint("*", "*")
LEFT_OUT = (
    "tracepoint:*:* leaves out the category syscalls: raw_syscalls:sys_enter and sys_exit tell of each of its events, "
    "and the kernel takes some 70 ms to detach each one (say syscalls:* to have them nevertheless)"
)


def targets_of(kind: str, target: Any) -> tuple[Target, ...]:
    """The targets that a declaration names; patterns stay patterns.

    `kind` is one of `KINDS`; `target` is a string, a list of strings, or for ``profile`` a number of samples a second.
    Raises SpecError for what can't be a target, Unsupported for a kind that comes later.
    """
    if kind not in KINDS:
        refuse_kind(kind)
    if kind == "profile":
        return (_profile(target),)
    texts = list(target) if isinstance(target, list | tuple) else [target]
    if not texts:
        raise SpecError(f"a {kind} needs a target, and the list is empty", "target")
    make = _MAKERS[kind]
    return tuple(dict.fromkeys(make(text) for text in texts))


def parse_probe(text: str) -> tuple[str, str | int]:
    """Kind and target from the command line's spelling.

    ``"tracepoint:sched:sched_switch"``, ``"raw_tracepoint:sched_switch"``, ``"function:vfs_read"``,
    ``"function_return:vfs_read"``, ``"profile:99"`` (``"profile"`` alone is 99 a second); ``"sched:sched_switch"``
    alone is a tracepoint. Raises SpecError for an unknown kind, naming near ones, and Unsupported for one that comes
    later.
    """
    if not isinstance(text, str):
        raise SpecError(f"a probe is spelled as a string, such as 'sched:sched_switch', not {described(text)}")
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if kind == "profile":
        return kind, _rate(rest) if colon else DEFAULT_HZ
    if kind in _MAKERS:
        return kind, _without_kind(_MAKERS[kind](rest))
    if kind == "span":
        raise SpecError("a span has no spelling: declare the probes that it pairs, then session.span(start, end)")
    if kind in _LATER or (kind in _ALIASES and (colon or len(kind) > 2)):
        refuse_kind(kind, rest)
    if text.count(":") == 1:
        return "tracepoint", _without_kind(_tracepoint(text))
    if not colon:
        raise SpecError(
            f"{text!r} names no kind of probe: say category:name for a tracepoint, or raw_tracepoint:{text or 'name'}"
            + proposal(text, [*KINDS, *_LATER])
        )
    return refuse_kind(kind)


def refuse_kind(kind: str, rest: str = "") -> NoReturn:
    """Raises: Unsupported for a kind that comes later, SpecError for an unknown one, with what can be probed now."""
    real = _ALIASES.get(kind, kind)
    if real in KINDS:
        meant = f"{real}:{rest}" if rest else real
        raise SpecError(f"there is no kind of probe called {kind!r}; did you mean {meant}?")
    now = f"what can be probed now: {', '.join(KINDS)}"
    if real not in _LATER:
        raise SpecError(f"there is no kind of probe called {kind!r}{proposal(kind, [*KINDS, *_LATER])}; {now}")
    instead = ""
    if real in ("syscall", "syscall_return"):
        edge = "exit" if real == "syscall_return" else "enter"
        instead = f"; for a system call take tracepoint:syscalls:sys_{edge}_<name>"
    raise Unsupported(f"{_LATER[real]} ({real}) can't be probed yet{instead}; {now}")


def is_pattern(target: Target) -> bool:
    """Whether it stands for the targets that match it."""
    return not isinstance(target, Profile) and any(sign in _without_kind(target) for sign in _WILD)


def left_out(targets: Sequence[Target]) -> str:
    """What the pattern of all tracepoints leaves out, and why; nothing for any other targets."""
    return LEFT_OUT if EVERYTHING in targets else ""


def _once(matches: Sequence[Target]) -> Sequence[Target]:
    """Every tracepoint, without those that would tell of each system call again."""
    if not any(isinstance(match, Tracepoint) and match.category == "raw_syscalls" for match in matches):
        return matches
    return [match for match in matches if not (isinstance(match, Tracepoint) and match.category == "syscalls")]


def resolved(targets: Sequence[Target], resolve: Resolver) -> tuple[Target, ...]:
    """The targets, each pattern replaced by what matches it. Raises ProbeNotFound for one that nothing matches.

    Of the pattern of all tracepoints, what `left_out` names is left out.
    """
    found: dict[Target, None] = {}
    for target in targets:
        if not is_pattern(target):
            found[target] = None
            continue
        # A function is entered and returns under one name.
        listed = Function.kind if isinstance(target, Function) else target.kind
        matches = resolve(listed, str(_without_kind(target)))
        if not matches:
            raise ProbeNotFound(f"no {target.kind} matches {_without_kind(target)!r}")
        made = [made for match in matches for made in targets_of(target.kind, match)]
        found.update(dict.fromkeys(_once(made) if target == EVERYTHING else made))
    return tuple(found)


def default_name(targets: Sequence[Target]) -> str:
    """The first target's last part without a pattern's signs: ``sched_switch``; of ``"sched:*"`` it is ``sched``.

    A return's has ``_return`` at its end: ``vfs_read_return``.
    """
    first = targets[0]
    if isinstance(first, Profile):
        return first.kind
    # A module may stand before a function.
    parts = [first.name, first.category] if isinstance(first, Tracepoint) else [first.name.rpartition(":")[2]]
    for part in parts:
        name = re.sub(r"_*\W[\W_]*", "_", re.sub(r"\[[^]]*\]?", "_", part)).strip("_")
        if name:
            name += "_return" if isinstance(first, FunctionReturn) else ""
            return name if name.isidentifier() else f"_{name}"
    return first.kind


def native_resolver(kind: str, pattern: str) -> list[str]:
    """Asks this machine's kernel what matches."""
    from spile import _native

    return [spelling for found, spelling in _native.list_probes(f"{kind}:{pattern}") if found == kind]


def _tracepoint(text: Any) -> Tracepoint:
    text = _text(text, "a tracepoint is category:name, such as 'sched:sched_switch'").removeprefix("tracepoint:")
    if text == "*":
        return EVERYTHING
    category, colon, name = text.partition(":")
    if not colon:
        raise SpecError(f"a tracepoint is category:name, such as 'sched:sched_switch', and {text!r} has no category")
    return Tracepoint(_named(category, text), _named(name, text))


def _raw_tracepoint(text: Any) -> RawTracepoint:
    text = _text(text, "a raw tracepoint is a name, such as 'sched_switch'").removeprefix("raw_tracepoint:")
    if ":" in text:
        name = text.rpartition(":")[2]
        raise SpecError(f"a raw tracepoint has no category: say {name!r}, not {text!r}")
    return RawTracepoint(_named(text, text))


def _function(text: Any) -> Function:
    return Function(_function_name(text, Function.kind))


def _function_return(text: Any) -> FunctionReturn:
    return FunctionReturn(_function_name(text, FunctionReturn.kind))


def _function_name(text: Any, kind: str) -> str:
    text = _text(text, "a function is a name, such as 'vfs_read'").removeprefix(f"{kind}:")
    if text.endswith("()"):
        raise SpecError(f"a function is named without parentheses: say {text[:-2]!r}")
    if not _FUNCTION.fullmatch(text):
        raise SpecError(
            f"{text!r} is no function's name: letters, digits, _ and . make one, and * ? [] a pattern; a module's may "
            "stand before it, as in overlay:ovl_open"
        )
    return str(text)


_MAKERS: dict[str, Callable[[Any], Tracepoint | RawTracepoint | Function]] = {
    "tracepoint": _tracepoint,
    "raw_tracepoint": _raw_tracepoint,
    "function": _function,
    "function_return": _function_return,
}


def _profile(hz: Any) -> Profile:
    if isinstance(hz, bool) or not is_integer(hz) or not 1 <= int(hz) <= MAX_HZ:
        raise SpecError(f"hz is samples per second and CPU, an integer within 1 … {MAX_HZ}, not {described(hz)}")
    return Profile(int(hz))


def _rate(text: str) -> int:
    digits = text.removeprefix("hz:").strip()
    return _profile(int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text).hz


def _text(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise SpecError(f"{what}, not {described(text)}")
    return text.strip()


def _named(part: str, text: str) -> str:
    if not _NAME.fullmatch(part):
        raise SpecError(f"{text!r} is no name of a probe: letters, digits and _ make one, and * ? [] a pattern")
    return part


def _without_kind(target: Target) -> str:
    return target.spelling.partition(":")[2]

"""What can go wrong, in one hierarchy under `Error`.

In: messages, from Python and (by these classes) from the Rust side. Out: exceptions whose `str()` says what is wrong,
where, and what to do. Nothing here looks at a kernel.
"""

from __future__ import annotations


class Error(Exception):
    """Any error of spile's.

    `message` is the text; `errors` holds the single messages where one exception stands for several, else nothing.
    """

    def __init__(self, message: str, *details: object, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message, *details)
        self.message = message
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return self.message


class SpecError(Error):
    """The description asks for something wrong.

    `path` says where, as in ``probes[0].capture.fields[1].expr``; `declared_at` is the ``file:line`` of the probe's
    declaration. Either may be None.
    """

    def __init__(
        self, message: str, path: str | None = None, declared_at: str | None = None, *, errors: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, path, declared_at, errors=errors)
        self.path = path
        self.declared_at = declared_at

    def __str__(self) -> str:
        where = [f"at {self.path}"] if self.path else []
        if self.declared_at:
            where.append(f"declared at {self.declared_at}")
        return f"{self.message} ({', '.join(where)})" if where else self.message


class ProbeNotFound(Error):  # noqa: N818
    """There is no such tracepoint, timer or function; the message names the nearest ones."""


class FieldNotFound(Error):  # noqa: N818
    """The probe has no such field; the message names the nearest ones."""


class Unsupported(Error):  # noqa: N818
    """This kernel, engine or release can't; the message says what works all the same."""


class PrivilegeError(Error, PermissionError):
    """A privilege is missing; the message says which, and for what."""


class StateError(Error):
    """Asked too early or too late: declaring after the start, iterating before it, starting twice."""


class EngineError(Error):
    """The kernel refused something that spile made. `log` is the kernel's own account, or empty."""

    def __init__(self, message: str, log: str = "", *, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message, log, errors=errors)
        self.log = log

    def __str__(self) -> str:
        return f"{self.message}\n{self.log.rstrip()}" if self.log else self.message


class StreamError(Error):
    """A stream holds something that can't be an event; `offset` counts bytes from its beginning."""

    def __init__(self, message: str, offset: int = 0, *, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message, offset, errors=errors)
        self.offset = offset

    def __str__(self) -> str:
        return f"at byte {self.offset}: {self.message}"


class RecordingError(StreamError):
    """A recording can't be read, or written on; `offset` counts bytes from its beginning.

    The message says what could be saved.
    """


class LossWarning(UserWarning):
    """Something asked for is missing from the result; the message says how much, why, and which limit to raise."""


class OverheadWarning(UserWarning):
    """A session leaves more out to keep to ``max_overhead=``; the message says what, the ledger how much."""

"""Ctrl-C and SIGTERM, turned into an orderly end of the sessions that run.

In: a session, in its loops and in ``with``. Out: a call of its `_interrupted(signum)`; outside of a loop, where nobody
would look at that, KeyboardInterrupt or SystemExit, so that ``with`` ends the session. Signals are taken only in the
main thread, only from their default dispositions, shared by all sessions, and restored when the last one lets go. A
second Ctrl-C raises KeyboardInterrupt at once.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Protocol
from weakref import WeakSet


class Interruptible(Protocol):
    """What can be ended by a signal."""

    def _interrupted(self, signum: int) -> bool:
        """Asks for an orderly end; False when that had been asked for already."""


_DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_listeners: WeakSet[Any] = WeakSet()
_taken: list[int] = []


def listen(listener: Interruptible) -> bool:
    """Lets signals end `listener`, where that is possible; says whether it now listens."""
    if threading.current_thread() is not threading.main_thread():
        return False
    _listeners.add(listener)
    for number, default in _DEFAULTS.items():
        if number not in _taken and signal.getsignal(number) == default:
            signal.signal(number, _on_signal)
            _taken.append(number)
    return bool(_taken)


def unlisten(listener: Interruptible) -> None:
    """The opposite of `listen`. In another thread the dispositions stay: without listeners they do the default."""
    _listeners.discard(listener)
    if not _listeners and threading.current_thread() is threading.main_thread():
        _restore()


def _restore() -> None:
    while _taken:
        number = _taken.pop()
        # Somebody else's handler, set in the meantime, is not ours to remove.
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, _DEFAULTS[number])


def _on_signal(number: int, frame: FrameType | None) -> None:
    # Every session hears of it, so no generator: `any` would stop at the first.
    first = any([listener._interrupted(number) for listener in list(_listeners)])  # noqa: C419
    if first:
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if _listeners:
        raise SystemExit(128 + number)
    _restore()
    os.kill(os.getpid(), number)

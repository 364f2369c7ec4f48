"""Signals are shared by all sessions, taken from default dispositions only, and given back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from spile import signals


class Listener:
    def __init__(self) -> None:
        self.heard: list[int] = []

    def _interrupted(self, signum: int) -> bool:
        self.heard.append(signum)
        return len(self.heard) == 1


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    signals.unlisten(made)


def test_taken_and_given_back(listener: Listener) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert before == (signal.default_int_handler, signal.SIG_DFL)
    assert signals.listen(listener)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT) if not listener.heard else None
    assert listener.heard == [signal.SIGTERM]
    signals.unlisten(listener)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_raises(listener: Listener) -> None:
    signals.listen(listener)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(SystemExit, match="143"):
        os.kill(os.getpid(), signal.SIGTERM)


def test_every_session_hears_of_it(listener: Listener) -> None:
    other = Listener()
    signals.listen(listener)
    signals.listen(other)
    os.kill(os.getpid(), signal.SIGINT)
    signals.unlisten(other)
    assert listener.heard == other.heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_not_from_a_script_that_has_its_own(listener: Listener) -> None:
    heard: list[int] = []

    def own(number: int, frame: object) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, own)
    try:
        signals.listen(listener)
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT] and listener.heard == []
        signals.unlisten(listener)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_not_in_another_thread(listener: Listener) -> None:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(signals.listen(listener)))
    thread.start()
    thread.join()
    assert answers == [False]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

"""Numbers with names, from this kernel: by a tracepoint's format, and by its types."""

from __future__ import annotations

import os
import socket
import time

import pytest

import spile
from spile import FieldNotFound, arg, isin

pytestmark = pytest.mark.live

STATE = "sock:inet_sock_set_state"


def connect() -> None:
    """Opens and closes a connection to this very machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        client.close()
        peer.close()


def test_a_tracepoint_s_format_names_values_and_conditions_take_the_names() -> None:
    session = spile.Session(pid=os.getpid())
    states = session.tracepoint(STATE, capture={"old": arg.oldstate, "new": arg.newstate})
    closed = session.tracepoint(STATE, where=arg.newstate == "TCP_CLOSE", capture=[arg.newstate])
    opened = session.tracepoint(STATE, where=isin(arg.newstate, "TCP_SYN_SENT", "TCP_SYN_RECV"))
    counts = opened.count(by=arg.newstate)
    with session:
        connect()
        time.sleep(0.2)
        session.stop()
        events = list(session)
    ways = {(str(event["old"]), str(event["new"])) for event in events if event.probe == states.name}
    assert {("TCP_CLOSE", "TCP_SYN_SENT"), ("TCP_CLOSE", "TCP_LISTEN")} <= ways
    ends = [event["newstate"] for event in events if event.probe == closed.name]
    # 7 is TCP_CLOSE in include/net/tcp_states.h.
    assert ends and all((state, state.name) == (7, "TCP_CLOSE") for state in ends)
    assert counts["TCP_SYN_SENT"] >= 1 and counts["TCP_SYN_SENT"] == counts[2]
    assert {str(key) for key in counts} <= {"TCP_SYN_SENT", "TCP_SYN_RECV"}


def test_softirqs_have_names() -> None:
    session = spile.Session()
    vectors = session.tracepoint("irq:softirq_entry").count(by=arg.vec)
    session.run(duration=0.3)
    # Their order is that of include/linux/interrupt.h.
    known = ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"]
    assert len(vectors) and all(str(vector) == known[vector] for vector in vectors)


def test_the_kernel_s_types_name_what_no_format_does() -> None:
    session = spile.Session()
    modes = session.tracepoint("timer:hrtimer_start").count(by=arg.mode)
    relative = session.tracepoint("timer:hrtimer_start", where=arg.mode == "HRTIMER_MODE_ABS").count()
    with session:
        time.sleep(0.1)
    assert len(modes) and all(str(mode).startswith("HRTIMER_MODE_") for mode in modes)
    # HRTIMER_MODE_ABS is 0 (include/linux/hrtimer.h); the first probe may have been attached a moment sooner.
    assert relative.value <= modes.get("HRTIMER_MODE_ABS", 0) == modes.get(0, 0)


def test_flags_stay_numbers() -> None:
    session = spile.Session()
    states = session.tracepoint("sched:sched_switch").count(by=arg.prev_state)
    session.run(duration=0.2)
    assert {type(state) for state in states} == {int}


@pytest.mark.parametrize(
    ("name", "words"),
    [("TCP_CLOS", "did you mean TCP_CLOSE"), ("x", "they are called TCP_ESTABLISHED, TCP_SYN_SENT")],
)
def test_an_unknown_name_has_neighbours(name: str, words: str) -> None:
    session = spile.Session()
    session.tracepoint(STATE, where=arg.newstate == name).count()
    with pytest.raises(FieldNotFound) as raised:
        session.check()
    assert "no value of arg.newstate is called" in str(raised.value) and words in str(raised.value)
    assert "declared at" in str(raised.value)

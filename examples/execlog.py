"""Every program that starts, as it starts. Handlers found by their names, as in 2008.

spile finds `on_<probe>` in this module, binds its parameters to the captures of the same names, and calls
`on_end_trace_session` once, at the end, whatever ended the session.

    spile run examples/execlog.py                   (until Ctrl-C)
    spile run --duration 10 examples/execlog.py

(`session.run(handlers=sys.modules[__name__])` at the end would make it a program that runs by itself.)
"""

from __future__ import annotations

import spile as sp

session = sp.Session()
session.tracepoint(
    "sched:sched_process_exec",
    capture={"pid": sp.pid, "ppid": sp.ppid, "uid": sp.uid, "path": sp.arg.filename},
)
started = 0


def on_sched_process_exec(event: sp.Event, pid: int, ppid: int, uid: int, path: str) -> None:
    """Called for each event."""
    global started
    started += 1
    print(f"{event.datetime:%T} {pid:>8} (of {ppid}) uid {uid:<5} {path}", flush=True)


def on_end_trace_session() -> None:
    """Called once."""
    print(f"{started} programs started.")

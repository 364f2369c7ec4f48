"""spile as a tracer: a process that runs one session. In: a mode and events. Out: what the session saw, as JSON.

Each mode is the same few lines that a user would write:

* ``filtered``: every hit is kept out by `where`, in the kernel: the floor that all others stand on
* ``count``, ``count-stacks``: by process, and by process and kernel stack; where it is counted is the engine's choice
* ``count-rust``, ``count-stacks-rust``: the same in Rust, of a spile that would count it in the kernel
* ``batches``: sent to Python as whole batches, which looks at nothing: the transport alone
* ``handlers``: a Python handler that hashes and sums, as in 2004
* ``record``, ``record-raw``: into a recording on disk, compressed or not
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benches.kernel_compile.tracers import Child, Outcome, Tracer

BUFFER = 8 << 20
QUEUE = 1 << 30
MODES = (
    "filtered",
    "count",
    "count-rust",
    "count-stacks",
    "count-stacks-rust",
    "batches",
    "handlers",
    "record",
    "record-raw",
)


class Spile(Tracer):
    """The process's other end."""

    def __init__(self, mode: str, events: Sequence[str], folder: Path, *, is_everything: bool) -> None:
        super().__init__(f"spile {mode}", events, folder)
        self.mode, self.is_everything = mode, is_everything
        self.child: Child | None = None
        #: The events that happened, once it has ended.
        self.fired: list[str] = []

    def begin(self) -> None:
        listed = self.folder / "events.json"
        listed.write_text(json.dumps("*" if self.is_everything else self.events))
        module = "benches.kernel_compile.spile_side"
        command = [sys.executable, "-m", module, self.mode, str(listed), str(self.folder)]
        self.child = Child.start(command, self.folder / "complaints")
        self.child.line()

    def end(self) -> Outcome:
        assert self.child is not None and self.child.process.stdin is not None
        self.child.process.stdin.close()
        told = json.loads(self.child.line())
        cpu, self.fired = self.child.wait(), told["fired"]
        recording = self.folder / "recording.spile"
        return Outcome(
            events=told["events"],
            lost=told["lost"],
            bytes=recording.stat().st_size if recording.exists() else None,
            cpu=cpu,
            memory=self.child.memory,
            buffers=told["buffers"],
            start=told["start"],
            stop=told["stop"],
            remark=told["remark"],
        )

    def abandon(self) -> None:
        if self.child is not None:
            self.child.kill()


# The process itself ---------------------------------------------------------------------------------------------------


def main(mode: str, listed: str, folder: str) -> None:
    """Says ``ready`` when it traces; ends when its standard input does, and says what it saw."""
    session = _session(mode)
    remark = _declare(session, mode, json.loads(Path(listed).read_text()), Path(folder))
    before = time.perf_counter()
    session.start()
    start = time.perf_counter() - before
    print("ready", flush=True)
    stop: list[float] = []
    threading.Thread(target=_ender, args=(session, stop), daemon=True).start()
    session.wait()
    while not stop:
        time.sleep(0.01)
    losses = session.losses
    cpus = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    total, rows = losses.total, losses.targets(next(iter(losses)))
    print(
        json.dumps(
            {
                "events": total.hits,
                "lost": losses.lost,
                "buffers": BUFFER * cpus,
                "start": start,
                "stop": stop[0],
                "remark": "; ".join(filter(None, (remark(), _where_counted(total)))),
                "fired": [target.removeprefix("tracepoint:") for target, row in rows.items() if row.hits],
            }
        )
    )


def _session(mode: str) -> Any:
    import spile

    can_choose = "tables" in inspect.signature(spile.Session).parameters
    options = {"buffer": BUFFER, "queue": QUEUE}
    if mode.endswith("-rust"):
        if not can_choose:
            raise SystemExit("this spile counts everything in Rust")
        options["tables"] = 0
    return spile.Session(**options)  # type: ignore[arg-type]


def _where_counted(total: Any) -> str:
    tabled = getattr(total, "tabled", 0)
    return f"{tabled:,} hits counted in the kernel" if tabled else ""


def _ender(session: Any, stop: list[float]) -> None:
    sys.stdin.read()
    before = time.perf_counter()
    session.stop()
    stop.append(time.perf_counter() - before)


def _declare(session: Any, mode: str, events: Any, folder: Path) -> Callable[[], str]:
    from spile import comm, cpu, kstack, pid

    if mode == "filtered":
        session.tracepoint(events, where=cpu == 0xFFFF).count()
        return str
    if mode in ("count", "count-rust"):
        counts = session.tracepoint(events).count(by=(pid, comm))
        return lambda: f"{len(counts):,} keys"
    if mode in ("count-stacks", "count-stacks-rust"):
        stacks = session.tracepoint(events).count(by=(comm, kstack))
        return lambda: f"{len(stacks):,} keys"
    if mode == "batches":
        seen: list[int] = []
        session.tracepoint(events, capture={"pid": pid}).on_batch(lambda batch: seen.append(len(batch)))
        return lambda: f"{len(seen):,} batches, {sum(seen):,} events"
    if mode == "handlers":
        return _handled(session.tracepoint(events, capture={"pid": pid}))
    if mode in ("record", "record-raw"):
        if not hasattr(session, "record"):
            raise SystemExit("this spile has no recordings yet")
        session.record(folder / "recording.spile", compress=mode == "record")
        session.tracepoint(events, capture={"pid": pid})
        return lambda: "kept of each event: time, CPU, tracepoint, process"
    raise SystemExit(f"there is no mode {mode}; there are {', '.join(MODES)}")


def _handled(probe: Any) -> Callable[[], str]:
    """What the handlers of 2004 did: a hash over everything, and a sum for each process."""
    digest, calls = 0, 0
    sums: defaultdict[int, int] = defaultdict(int)

    def on_event(id: int, time: int, pid: int) -> None:  # noqa: A002 (handlers are bound by these names)
        nonlocal digest, calls
        digest = (digest * 31 ^ time ^ id) & 0xFFFF_FFFF_FFFF_FFFF
        sums[pid] += 1
        calls += 1

    probe.on_event(on_event)
    return lambda: f"{calls:,} calls, {len(sums):,} processes, hash {digest:016x}"


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The command: sets everything up, measures, writes the report into a folder."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benches.kernel_compile import events, peers, report, setting, tree
from benches.kernel_compile.ftrace import Ftrace
from benches.kernel_compile.measure import Measured, in_turns
from benches.kernel_compile.spile_side import MODES, Spile
from benches.kernel_compile.storming import Stormed, storm
from benches.kernel_compile.tracers import Tracer
from benches.machine import describe, version

PEERS = ("ftrace", "perf", "bpftrace", "trace-cmd")
WORK = Path("/var/tmp/spile-kernel-compile")
Maker = tuple[str, Callable[[], Tracer]]


def main() -> None:
    """Measures what is asked for."""
    options = _options()
    # As Ctrl-C does: no tracer outlives this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    setting.with_tracefs(sys.argv[1:])
    options.work.mkdir(parents=True, exist_ok=True)
    setting.need(setting.COMPILER if options.tiny else setting.KERNEL)
    if not options.tiny:
        setting.need(tuple(need for peer, need in setting.PEERS.items() if peer in options.peers))
    reader = setting.compiled(Path(__file__).with_name("ftrace_reader.c"), options.work)
    built = _tree(options)
    about, sets = _about(options), dict[str, Measured]()
    for name in options.sets:
        print(f"{name}: which events fire", flush=True)
        fired = _fired(built, name, options.work)
        listed = events.named(name, setting.TRACEFS)
        about[f"events of {name}"] = f"{len(listed):,} tracepoints, {len(fired):,} of which fire"
        sets[name] = in_turns(built, _makers(name, fired, options, reader), options.rounds, _say)
    stormed = _storm(options, reader) if options.storm else None
    _write(options.report, about, sets, stormed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.kernel_compile", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="some C files, one round: shows that it runs")
    parser.add_argument("--targets", nargs="+", default=["mm/"], help="folders of the kernel to build (mm/)")
    parser.add_argument("--rounds", type=int, default=None, help="of all tracers (5)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="of make (one for each CPU)")
    parser.add_argument("--sets", nargs="+", choices=("core", "all"), default=["core", "all"])
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES), help="of spile")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--no-storm", dest="storm", action="store_false", help="leave the getppid storm out")
    parser.add_argument("--work", type=Path, default=WORK, help=f"where to unpack and trace to ({WORK})")
    parser.add_argument("--report", type=Path, help="folder of report.md and report.json (in the one to work in)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.tiny else 5)
    options.report = options.report or options.work / "report"
    return options


def _tree(options: argparse.Namespace) -> tree.Tree:
    if options.tiny:
        return tree.small(options.work, options.jobs)
    return tree.kernel(options.work, options.targets, options.jobs)


def _about(options: argparse.Namespace) -> dict[str, str]:
    what = "some C files" if options.tiny else f"{' '.join(options.targets)} of linux-source-6.1, tinyconfig"
    return {
        "date": datetime.date.today().isoformat(),
        **describe(),
        "trace-cmd": version("trace-cmd"),
        "build": f"{what}, make -j{options.jobs}, {options.rounds} rounds",
    }


def _fired(built: tree.Tree, name: str, work: Path) -> list[str]:
    """The events of a set that happen at all in this build, by spile's ledger. The build warms the caches, too."""
    built.clean()
    with _spile("filtered", name, work)() as tracer:
        built.build()
        tracer.end()
        assert isinstance(tracer, Spile)
        return tracer.fired


def _spile(mode: str, name: str, work: Path) -> Callable[[], Tracer]:
    listed = events.named(name, setting.TRACEFS)
    return lambda: Spile(mode, listed, work / "trace", is_everything=name == "all")


def _makers(name: str, fired: Sequence[str], options: argparse.Namespace, reader: Path) -> list[Maker]:
    folder = options.work / "trace"
    listed = events.named(name, setting.TRACEFS)
    makers: list[Maker] = [(f"spile {mode}", _spile(mode, name, options.work)) for mode in options.modes]
    there: dict[str, Maker] = {
        "ftrace": (report.FTRACE, lambda: Ftrace(listed, folder, reader)),
        "perf": (peers.Perf.what, lambda: peers.Perf(fired, folder)),
        "bpftrace": (peers.Bpftrace.what, lambda: peers.Bpftrace(fired, folder)),
        "trace-cmd": (peers.TraceCmd.what, lambda: peers.TraceCmd(fired, folder)),
    }
    return makers + [maker for peer, maker in there.items() if peer in options.peers]


def _storm(options: argparse.Namespace, reader: Path) -> Stormed:
    print("storm", flush=True)
    # A handler in Python is no match for a storm, and its time is not in the price.
    without = argparse.Namespace(**{**vars(options), "modes": [mode for mode in options.modes if mode != "handlers"]})
    makers = _makers("storm", events.named("storm", setting.TRACEFS), without, reader)
    turns, calls, rounds = (1, 1000, 1) if options.tiny else (options.rounds, 20_000, 15)
    return storm(makers, turns, calls, rounds, _say)


def _write(folder: Path, about: dict[str, str], sets: dict[str, Measured], stormed: Stormed | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report.markdown(about, sets, stormed), encoding="utf-8")
    figures = json.dumps(report.to_json(about, sets, stormed), indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(figures, encoding="utf-8")
    print(f"{folder / 'report.md'} and report.json", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()

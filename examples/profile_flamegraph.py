"""A CPU profile as a flame graph: a timer on every CPU, counted by process and kernel stack without Python per sample.

python examples/profile_flamegraph.py --seconds 10 --hz 199 -o profile.svg
python examples/profile_flamegraph.py -o ls.svg ls -lR /usr
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spile as sp
from spile import comm, kstack


def main() -> None:
    """Samples, prints the hottest, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--hz", type=int, default=99, help="samples a second on each CPU (99)")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output/profile.svg"))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="profile this command alone")
    options = parser.parse_args()

    session = sp.Session(command=options.command or None)
    samples = session.profile(hz=options.hz).count(by=(comm, kstack))
    session.run(duration=options.seconds)

    print(f"{samples.total:,} samples, {session.losses}")
    for (name, stack), count in samples.top(5):
        where = stack[0] if stack else "in user space"
        print(f"{count:>7,}  {name:<16} {where}")
    if samples:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        samples.flamegraph(options.output, title=f"CPU at {options.hz} Hz", count_name="samples")
        print(f"Flame graph: {options.output.resolve()}")


if __name__ == "__main__":
    try:
        main()
    except sp.Error as error:
        raise SystemExit(f"profile_flamegraph: {error}") from None

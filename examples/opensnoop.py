"""Which files are opened, by whom? Events of a type of their own, which mypy and an editor know.

python examples/opensnoop.py --seconds 5
python examples/opensnoop.py ls /etc
"""

from __future__ import annotations

import argparse

import spile as sp


class Open(sp.Event):
    """What an event carries: the class says what is captured, and what type it has."""

    pid = sp.pid
    comm = sp.comm
    flags = sp.arg.flags
    path = sp.string(sp.arg.filename)


def main() -> None:
    """Prints a line for each openat(2)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="trace this command alone")
    options = parser.parse_args()

    session = sp.Session(command=options.command or None)
    opens = session.tracepoint("syscalls:sys_enter_openat", capture=Open)

    @opens.on_event
    def show(event: Open) -> None:
        print(f"{event.pid:<8} {event.comm:<16} {event.flags:>#9x} {event.path}")

    session.run(duration=options.seconds)


if __name__ == "__main__":
    try:
        main()
    except sp.Error as error:
        raise SystemExit(f"opensnoop: {error}") from None

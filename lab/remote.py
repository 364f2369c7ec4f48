"""A guest to run scripts in from the host: `stap --remote`, through a virtio-serial port for each run.

In: a kernel. Out: addresses (``unix:…``) at which a stapsh listens, and what is run in the guest while it does. Both
ends of the commands are files in the run's folder: the host writes a script, the guest its output and status. stapsh
serves one connection and ends, and a stap that connects to none waits for ever: so there are some of them, each for one
connection.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from lab import LabError, guest, packages
from lab.guest import Guest
from lab.kernels import Kernel

PORTS = 8
_BOOT = 120.0
_PAUSE = 0.05
_STAPSH = "/usr/lib/systemtap/stapsh"
# A stapsh has its port open once it asks for signals from it (O_ASYNC, 020000); what comes before that is thrown away.
_SERVE = r"""
listening() {
    for each in /proc/$1/fd/*; do
        case $(readlink "$each") in
        /dev/vport*) grep -q '^flags:.*2....$' "/proc/$1/fdinfo/${each##*/}" && return ;;
        esac
    done
    return 1
}
number=0
while [ $number -lt $PORTS ]; do
    port=
    until [ "$port" ]; do
        port=$(grep -lx "stapsh.$number" /sys/class/virtio-ports/*/name) || sleep 0.1
    done
    port=${port%/name}
    (cd "$TMPDIR" && exec setsid $STAPSH -l "/dev/${port##*/}") &
    until listening $!; do sleep 0.1; done
    number=$((number + 1))
done
touch listening
number=0
while :; do
    until [ -e "$number.command" ]; do sleep 0.1; done
    sh "./$number.command" >"$number.output" 2>&1 </dev/null
    echo $? >"$number.status.new"
    mv "$number.status.new" "$number.status"
    number=$((number + 1))
done
"""


class RemoteGuest:
    """A guest in which scripts run that were compiled here; a context manager."""

    def __init__(self, kernel: Kernel, *, limit: float) -> None:
        """Boots, and waits until it listens."""
        packages.need(f"test -x {_STAPSH}", "systemtap-runtime")
        self.kernel = kernel
        self.folder = guest.new_run(kernel)
        self._held = ExitStack()
        # A socket's path has 107 bytes at most.
        self._sockets = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="spile-lab-")))
        self._guest = self._held.enter_context(Guest(kernel, self.folder, limit=limit))
        self._used = 0
        self._commands = 0
        (self.folder / "serve").write_text(_SERVE, encoding="utf-8")
        try:
            command = ["sh", str(self.folder / "serve")]
            self._guest.start(command, {"PORTS": str(PORTS), "STAPSH": _STAPSH}, self.folder, self._devices())
            self._wait_for("listening", _BOOT)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the guest."""
        self._held.close()

    def address(self) -> str:
        """Where a stapsh listens that nobody has talked to: for `stap --remote`, once."""
        if self._used == PORTS:
            raise LabError(f"all {PORTS} ports of the guest were used")
        self._used += 1
        return f"unix:{self._socket(self._used - 1)}"

    def run(self, *command: str, limit: float = 120) -> str:
        """Runs a command in the guest, gives what it says; raises LabError for one that fails or takes too long."""
        number, self._commands = self._commands, self._commands + 1
        script = self.folder / f"{number}.command"
        half = script.with_suffix(".new")
        half.write_text(f"exec {shlex.join(command)}\n", encoding="utf-8")
        half.rename(script)
        status = self._wait_for(f"{number}.status", limit).read_text(encoding="utf-8").strip()
        output = (self.folder / f"{number}.output").read_text(encoding="utf-8", errors="replace")
        if status != "0":
            raise LabError(f"{shlex.join(command)} ended with status {status} in the guest:\n{output}")
        return output

    def _wait_for(self, name: str, limit: float) -> Path:
        path, until = self.folder / name, time.monotonic() + limit
        while not path.exists():
            if not self._guest.running:
                raise LabError(str(self._guest.ended()))
            if time.monotonic() > until:
                raise LabError(f"the guest has not come to {name!r} within {limit:g} s ({self.folder})")
            time.sleep(_PAUSE)
        return path

    def _devices(self) -> list[str]:
        """QEMU's options for the ports."""
        options = ["-device", "virtio-serial-pci,id=stapsh"]
        for number in range(PORTS):
            socket = str(self._socket(number)).replace(",", ",,")
            options += ["-chardev", f"socket,id=stapsh{number},path={socket},server=on,wait=off"]
            options += ["-device", f"virtserialport,bus=stapsh.0,chardev=stapsh{number},name=stapsh.{number}"]
        return options

    def _socket(self, number: int) -> Path:
        return self._sockets / str(number)

"""The kernel lab: the project's tests inside other kernels, and SystemTap modules for them.

In: a kernel's series ("6.1"), a command or tests, SystemTap scripts. Out: results, output, exit statuses and the
console's text. It never installs a kernel on the host, never lets a guest write the host's files, and spile itself
knows nothing of it.

The road: `packages` (from Debian) → `kernels` (unpacked in the cache) → `guest` (booted by virtme-ng) → `results`
(tests' reports, as they come) → `plugin` (pytest). `systemtap` compiles on the host what `staprun` loads in the guest.
"""

from __future__ import annotations


class LabError(Exception):
    """Something that the lab needs isn't there, or went wrong; the message says what to do."""

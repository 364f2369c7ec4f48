"""The example of 2008, as it was written then: each call of a kernel function, its user time and its stack.

On the embedded engine functions can't be probed yet; it says so, and names what can be.

    python examples/vfs_read_2008.py
"""

from spile import Systemtap

probe = Systemtap.probeFunc("vfs_read")
probe.captureUtime("utime")
probe.captureBacktrace("trace")
probe.trace()
for event in probe.getEvent():
    print(event["utime"])
    print(event["trace"])

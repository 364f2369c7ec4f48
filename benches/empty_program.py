"""The least that a program on a raw tracepoint can cost: one that does nothing. No tracer's program costs less.

Loaded by the bpf system call itself, so that nothing of spile's or of a peer's is in the figure. x86-64 only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

#: `r0 = 0; exit`, in the kernel's encoding of instructions (Documentation/bpf/standardization/instruction-set.rst).
CODE = bytes.fromhex("b700000000000000 9500000000000000")
#: `__NR_bpf`, and of `enum bpf_cmd` and `enum bpf_prog_type` in linux/bpf.h.
BPF, PROG_LOAD, RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT = 321, 5, 17, 17
HAS_IT = platform.machine() == "x86_64"


@contextmanager
def attached(tracepoint: str) -> Iterator[None]:
    """While it is attached to a raw tracepoint. OSError where the kernel refuses it."""
    code, licence, name = (ctypes.create_string_buffer(text) for text in (CODE, b"GPL", tracepoint.encode()))
    load = struct.pack("<IIQQ", RAW_TRACEPOINT, len(CODE) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    program = _bpf(PROG_LOAD, load.ljust(120, b"\0"))
    try:
        link = _bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QII", ctypes.addressof(name), program, 0))
    finally:
        os.close(program)
    try:
        yield
    finally:
        os.close(link)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(attributes, len(attributes))
    descriptor = libc.syscall(BPF, command, room, len(attributes))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(descriptor)

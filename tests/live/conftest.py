"""What all tests on the running kernel share: they leave nothing behind."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from workload import descriptors, eventually


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After each test this process has no descriptors that it had not before.

    Soon after: the kernel takes a tracepoint's perf event away in tens of milliseconds, and a thread waits for it.
    """
    before = Counter(descriptors())
    yield
    gc.collect()
    assert eventually(lambda: not Counter(descriptors()) - before), descriptors()

"""The guest's side of a test run.

In: pytest's own reports. Out: the run's file of results, one line of JSON for each step, written before the next step:
what is in it stays, even where the next test takes the kernel down.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import results


def guest_kernel() -> str | None:
    """The series of the kernel that this guest runs; None on the host."""
    return os.environ.get("SPILE_LAB_KERNEL")


class Inside:
    """A pytest plugin that writes what happens."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        """Opens the file."""
        self._config = config
        self._writer = results.Writer(folder)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test starts."""
        self._writer.write("started", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of its phases has a result."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._writer.write("report", report.nodeid, data)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        self._writer.write("finished", nodeid)

    def pytest_unconfigure(self) -> None:
        """Nothing more will happen."""
        self._writer.close()

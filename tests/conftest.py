"""What all tests share: whether this machine lets us trace, and what a skip means.

A test marked `live` traces the kernel that it runs on. Where that is not allowed it skips and prints the reason; where
SPILE_CI is set, the machine is known to be able, and such a skip is a failure. So is that of a test marked `guest` in a
guest of the kernel lab (`lab.plugin`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Generator

import pytest

import spile
from lab.inside import guest_kernel

pytest_plugins = ["lab.plugin", "pytester"]


@functools.cache
def cannot_trace() -> str | None:
    """Why nothing can be traced here; None where it can."""
    session = spile.Session()
    session.tracepoint("sched:sched_switch").count()
    try:
        with session:
            return None
    except (spile.PrivilegeError, spile.Unsupported, spile.ProbeNotFound) as error:
        return str(error)


def pytest_configure(config: pytest.Config) -> None:
    """A loss under test is looked at in the ledger; the warning of it is no error."""
    config.addinivalue_line("filterwarnings", "default::spile.errors.LossWarning")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips live tests where they can't run."""
    if item.get_closest_marker("live") and (reason := cannot_trace()):
        pytest.skip(f"this machine can't be traced: {reason}")


def must_run(item: pytest.Item) -> bool:
    """Whether a test may not skip where SPILE_CI is set."""
    return item.get_closest_marker("live") is not None or (
        guest_kernel() is not None and item.get_closest_marker("guest") is not None
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where SPILE_CI is set, a test that skips where it must run has failed."""
    report = yield
    if os.environ.get("SPILE_CI") and report.skipped and must_run(item) and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must not skip here: {report.longrepr}"
    return report

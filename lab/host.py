"""The host's side of a test run: guests run the tests, pytest on the host reports them.

In: the session's items that are marked `guest`. Out: for each, the reports that its guest wrote, as they come; or a
failure with the console's end where a guest did not get that far. It never runs such a test here; one that runs beside
a guest gets the guest from it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from lab import LabError, guest, kernels, results
from lab.prepared import Preparation
from lab.remote import RemoteGuest

_PASSED_ON = ("SPILE_CI",)
_WAIT_FOR_THE_END = 60.0


class Host:
    """A pytest plugin that takes guests' tests over."""

    def __init__(self, config: pytest.Config) -> None:
        """No guest runs yet."""
        self._config = config
        self._series: str | None = None
        self._run: TestRun | None = None
        self._remote: RemoteGuest | None = None
        self._failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Limits of time are the guest's business: here a test may wait for other guests, and for its own to boot."""
        for item in items:
            if _is_inside(item):
                item.add_marker(pytest.mark.timeout(0), append=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Reports a guest's test, in place of running it."""
        if not _is_inside(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def remote(self, series: str) -> RemoteGuest:
        """The guest of the tests that run beside it; it ends before the next one boots."""
        if self._remote is None or self._remote.kernel.series != series:
            self._close()
            with self._aloud():
                guest.need_programs()
                self._remote = RemoteGuest(kernels.fetch(series), limit=self._config.getoption("lab_limit"))
        return self._remote

    def pytest_sessionfinish(self) -> None:
        """No guest outlives the session."""
        self._close()

    def _reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        try:
            with self._aloud():
                self._boot_for(item)
        except LabError as error:
            self._failed = f"the guest did not start: {error}"
        if self._run is None:
            yield failure(item, self._failed)
        else:
            yield from self._run.reports(item)

    def _aloud(self) -> AbstractContextManager[None]:
        """What is waited for or built is told to people, past pytest's capture."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else nullcontext()

    def _boot_for(self, item: pytest.Item) -> None:
        series = _series(item)
        if series == self._series:
            return
        self._close()
        self._series = series
        guest.need_programs()
        kernel = kernels.fetch(series)
        items = [other for other in item.session.items if _is_inside(other) and _series(other) == series]
        self._run = TestRun(self._config, kernel, items)
        self._run.start()

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
        if self._remote is not None:
            self._remote.close()
        self._run = self._remote = self._series = None


class TestRun:
    """One guest with all the tests of its kernel."""

    __test__ = False

    def __init__(self, config: pytest.Config, kernel: kernels.Kernel, items: list[pytest.Item]) -> None:
        """Prepares what the tests' modules ask for."""
        self._config = config
        self._kernel = kernel
        self._folder = guest.new_run(kernel)
        self._unprepared = prepare(items, Preparation(kernel, self._folder))
        self._ids = [item.nodeid for item in items if _module(item) not in self._unprepared]
        self._results = results.Reader(self._folder)
        self._guest = guest.Guest(kernel, self._folder, limit=config.getoption("lab_limit"))
        self._stall: float = config.getoption("lab_stall")
        self._since = time.monotonic()

    def start(self) -> None:
        """Boots the guest, if anything is to run in it."""
        if not self._ids:
            return
        (self._folder / "ids").write_text("\n".join(self._ids) + "\n", encoding="utf-8")
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._guest.start(guest_pytest(self._folder), environment, self._config.rootpath)
        self._since = time.monotonic()

    def close(self) -> None:
        """Ends the guest."""
        self._guest.__exit__()

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of a test, once it has ended or can't end any more."""
        if why := self._unprepared.get(_module(item)):
            yield failure(item, why)
            return
        self._wait(lambda: item.nodeid in self._results.finished, self._stall)
        for data in self._results.reports.get(item.nodeid, []):
            yield self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        if item.nodeid not in self._results.finished:
            yield failure(item, self._obituary(item.nodeid))
        elif item.nodeid == self._ids[-1] and (why := self._bad_end()):
            yield failure(item, why, when="teardown")

    def _wait(self, done: Callable[[], bool], stall: float) -> None:
        """Until something is so, or the guest has ended, or nothing has come of it for too long."""
        while True:
            running = self._guest.running
            if self._results.advance():
                self._since = time.monotonic()
            if done() or not running:
                return
            if time.monotonic() - self._since > stall:
                self._guest.stop(f"nothing came from it in {stall:g} s")
            time.sleep(0.05)

    def _obituary(self, node: str) -> str:
        ended = self._guest.ended()
        if node in self._results.started:
            return f"while this test ran, {ended}"
        running = sorted(self._results.started - self._results.finished)
        return f"not run: {f'in {running[0]}, ' if running else ''}{ended}"

    def _bad_end(self) -> str:
        self._wait(lambda: False, _WAIT_FOR_THE_END)
        ended = self._guest.ended()
        return "" if ended.status in (0, 1) else f"after the last test, {ended}"


def prepare(items: list[pytest.Item], preparation: Preparation) -> dict[str, str]:
    """Calls the modules' `prepare(lab)`; which failed, and why."""
    failed = {}
    modules = {_module(item): item.getparent(pytest.Module) for item in items}
    for name, module in modules.items():
        function = getattr(module.obj, "prepare", None) if module else None
        if function is None:
            continue
        try:
            function(preparation)
        except Exception as error:
            failed[name] = f"{name}: prepare({preparation.kernel.series}) failed: {type(error).__name__}: {error}"
    return failed


def guest_pytest(folder: Path) -> list[str]:
    """The command that runs the tests in the guest."""
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=200"]
    return [sys.executable, "-m", "pytest", *options, f"@{folder / 'ids'}"]


def failure(item: pytest.Item, why: str, when: str = "call") -> pytest.TestReport:
    """A report of the host's own: this test did not come to its end."""
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", why, when)  # type: ignore[arg-type]


def is_beside(item: pytest.Item) -> bool:
    """Whether a guest's test runs on the host."""
    marker = item.get_closest_marker("guest")
    return marker is not None and bool(marker.kwargs.get("beside", False))


def _is_inside(item: pytest.Item) -> bool:
    return item.get_closest_marker("guest") is not None and not is_beside(item)


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _series(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["guest_kernel"])

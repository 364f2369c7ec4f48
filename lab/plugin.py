"""pytest's view of the lab: the marker `guest`, the option `--lab`.

In: tests marked `guest`, each for some kernels. Out: one result for each test and kernel. On the host without `--lab`
they skip and say why; with it they run in guests (`host`); in a guest they run like any test and report to the host
(`inside`). A test beside a guest runs on the host and has the guest as its fixture (`remote`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import inside, kernels
from lab.host import Host, is_beside
from lab.prepared import Prepared
from lab.remote import RemoteGuest

GUEST = (
    "guest(kernels=…, beside=False): runs in a guest of the lab's, once with each of these kernels (all of them); "
    "`beside`: runs on the host, beside a guest that the fixture `remote_guest` boots"
)

_HOST = "spile-lab-host"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The lab's options."""
    group = parser.getgroup("lab")
    group.addoption(
        "--lab",
        action="append",
        default=[],
        choices=list(kernels.SERIES),
        metavar="KERNEL",
        help=f"run the tests marked `guest` in a guest with this kernel ({', '.join(kernels.SERIES)}); may be repeated",
    )
    group.addoption("--lab-limit", type=float, default=900, metavar="SECONDS", help="a guest's longest life (900)")
    group.addoption(
        "--lab-stall", type=float, default=240, metavar="SECONDS", help="the longest time in which no test ends (240)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """One of three: in a guest, on the host with guests, on the host without."""
    config.addinivalue_line("markers", GUEST)
    if inside.guest_kernel():
        config.pluginmanager.register(inside.Inside(config, Path(os.environ["SPILE_LAB_RUN"])))
    elif config.getoption("lab"):
        config.pluginmanager.register(Host(config), _HOST)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A guest test is as many tests as it has kernels: their names are the same on the host and in the guests."""
    if marker := metafunc.definition.get_closest_marker("guest"):
        chosen = [kernels.known(series) for series in marker.kwargs.get("kernels", kernels.SERIES)]
        metafunc.fixturenames.append("guest_kernel")
        metafunc.parametrize("guest_kernel", chosen, indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the kernels that are asked for; guests' tests come last, one kernel's after the other's."""
    asked = [running] if (running := inside.guest_kernel()) else config.getoption("lab")
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (others if asked and series_of(item) not in (None, *asked) else kept).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
    order = [None, *kernels.SERIES]
    # Those beside a guest before those in one: there is one guest at a time.
    items[:] = sorted(kept, key=lambda item: (order.index(series_of(item)), not is_beside(item)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On the host, without `--lab`, a guest's test is no test."""
    if series_of(item) and not inside.guest_kernel() and not (is_beside(item) and item.config.getoption("lab")):
        pytest.skip("runs in a guest of the kernel lab: make guest-test")


@pytest.fixture
def guest_kernel(request: pytest.FixtureRequest) -> str:
    """The series of the kernel that the test runs on."""
    return str(request.param)


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    """What the module's `prepare(lab)` made on the host."""
    return Prepared(Path(os.environ["SPILE_LAB_RUN"]))


@pytest.fixture
def remote_guest(request: pytest.FixtureRequest, guest_kernel: str) -> RemoteGuest:
    """A guest in which scripts run that this test, on the host, starts (`guest(beside=True)`)."""
    host = request.config.pluginmanager.get_plugin(_HOST)
    assert isinstance(host, Host)
    return host.remote(guest_kernel)


def series_of(item: pytest.Item) -> str | None:
    """The kernel of a guest's test; None for any other test."""
    if item.get_closest_marker("guest") is None or not isinstance(item, pytest.Function):
        return None
    return str(item.callspec.params["guest_kernel"])

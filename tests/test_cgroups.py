"""Cgroups by their paths, on mount tables that the tests write."""

from __future__ import annotations

from pathlib import Path

import pytest

from spile import SpecError, Unsupported, cgroups

HYBRID = """\
23 1 0:22 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("table", "points"),
    [
        ("", []),
        (HYBRID, ["/sys/fs/cgroup/unified"]),
        ("30 23 0:26 / /sys/fs/cgroup rw shared:4 master:2 - cgroup2 cgroup2 rw\n", ["/sys/fs/cgroup"]),
        (r"30 23 0:26 / /mnt/two\040words rw - cgroup2 none rw", ["/mnt/two words"]),
        ("1 2 0:26 /part /a rw - cgroup2 none rw\n3 2 0:26 / /b rw - cgroup2 none rw\n", ["/b", "/a"]),
    ],
)
def test_mounts_are_found(table: str, points: list[str]) -> None:
    assert [str(path) for path in cgroups.mounts(table)] == points


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that a mount table calls a cgroup2 hierarchy."""
    root = tmp_path / "unified"
    (root / "some.slice" / "some.service").mkdir(parents=True)
    (root / "cgroup.procs").touch()
    table = tmp_path / "mountinfo"
    table.write_text(f"41 31 0:38 / {root} rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(cgroups, "_MOUNTS", str(table))
    return root


def test_a_path_is_the_directory_s_or_one_inside(hierarchy: Path) -> None:
    wanted = hierarchy / "some.slice" / "some.service"
    for spelling in (wanted, str(wanted), "some.slice/some.service", "/some.slice/some.service", f"{wanted}/"):
        assert cgroups.cgroup_id(spelling) == wanted.stat().st_ino
    assert cgroups.cgroup_id("/") == hierarchy.stat().st_ino
    assert cgroups.cgroup_id(4711) == 4711


@pytest.mark.parametrize("path", ["none.slice", "/none.slice", "cgroup.procs", "/proc"])
def test_what_is_no_cgroup_is_refused(hierarchy: Path, path: str) -> None:
    assert Path("/proc").stat().st_dev != hierarchy.stat().st_dev
    with pytest.raises(SpecError, match=rf"no cgroup '{path}' in the cgroup2 hierarchy at {hierarchy}"):
        cgroups.cgroup_id(path)


def test_without_a_hierarchy_it_is_unsupported(hierarchy: Path) -> None:
    Path(cgroups._MOUNTS).write_text("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
    with pytest.raises(Unsupported, match="none is mounted"):
        cgroups.cgroup_id("some.slice")

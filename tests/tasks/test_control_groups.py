"""The limits of a container on its host, from the files of Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.tasks import chunks, control_groups
from e2emern.tasks.control_groups import cpu_limit, memory_left


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a job within a slice that has limits too."""
    (tmp_path / "own").write_text("1:cpu:/legacy\n0::/slice/job\n")
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    monkeypatch.setattr(control_groups, "MOUNT", tmp_path / "mount")
    job = tmp_path / "mount" / "slice" / "job"
    job.mkdir(parents=True)
    return job


def write(group: Path, **files: str) -> None:
    for name, text in files.items():
        (group / name.replace("_", ".")).write_text(f"{text}\n")


def test_no_limits(group: Path) -> None:
    assert (cpu_limit(), memory_left()) == (None, None)
    write(group, cpu_max="max 100000", memory_max="max", memory_current="5000")
    assert (cpu_limit(), memory_left()) == (None, None)


def test_the_smallest_limit_of_a_group_and_its_parents(group: Path) -> None:
    write(group, cpu_max="250000 100000", memory_max="8000", memory_current="5000")
    write(group.parent, cpu_max="150000 100000", memory_max="9000", memory_current="8500")
    assert (cpu_limit(), memory_left()) == (1.5, 500)
    write(group.parent, memory_current="9001")
    assert memory_left() == 0


def test_cores_follow_the_limit_and_are_at_least_one(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert chunks.cores() == 64
    for quota, number in ((250000, 2), (50000, 1), (9900000, 64)):
        write(group, cpu_max=f"{quota} 100000")
        assert chunks.cores() == number


def test_without_control_groups_of_version_2(group: Path) -> None:
    control_groups.OWN.write_text("1:cpu:/legacy\n")
    write(group, cpu_max="100000 100000")
    assert (cpu_limit(), memory_left()) == (None, None)
    control_groups.OWN.unlink()
    assert (cpu_limit(), memory_left()) == (None, None)

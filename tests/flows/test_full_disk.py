"""A full disk is reported in one line, leaves no partial file, and the next run continues."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import main
from e2emern.model.version import model_version
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import models
from e2emern.warehouse.snapshots.reader import current_snapshot
from tests.disk import full_disk
from tests.flows.world import World, finished_files, rows_of, tables, write_sources


def test_the_next_run_resumes_wherever_the_disk_was_full(world: World, tmp_path: Path) -> None:
    """Each run finds twice the free space of the previous one, until it is enough."""
    inputs, home = write_sources(tmp_path / "in"), tmp_path / "disk" / "home"
    reported: list[str] = []
    with full_disk(tmp_path / "disk") as make_room:
        for doubled in range(12, 25):
            make_room(1 << doubled)
            try:
                annotate_sources(inputs, home, model=world.model, mesh=world.mesh, device="cpu")
            except (OSError, WarehouseError) as error:
                reported.append(str(error))
                assert current_snapshot(Home(home)) is None
                assert not list(home.rglob(".writing-*"))
                assert all(rows_of(home / name) >= 0 for name in finished_files(home))
            else:
                break
        annotate_sources(inputs, tmp_path / "plain", model=world.model, mesh=world.mesh, device="cpu")
        assert tables(home) == tables(tmp_path / "plain")
    assert len(reported) > 5
    assert [line for line in reported if "No space left on device" not in line] == []
    assert len([line for line in reported if line.startswith("nothing was published")]) > 1


def test_a_full_disk_is_reported_in_one_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, version = tmp_path / "disk" / "home", model_version(world.model)
    monkeypatch.setattr(sys, "argv", ["e2emern", "models", "add", str(world.model), "--home", str(home)])

    def ended() -> tuple[object, str]:
        with pytest.raises(SystemExit) as code:
            main()
        return code.value.code, capsys.readouterr().err

    with full_disk(tmp_path / "disk") as make_room:
        place = home / "format.json"
        reported = f"e2emern: {place}: No space left on device; free disk space, and run the same command again\n"
        assert ended() == (1, reported)
        assert models(Home(home)) == []
        make_room(1 << 20)
        assert ended() == (0, "")
        assert [one.version for one in models(Home(home))] == [version]

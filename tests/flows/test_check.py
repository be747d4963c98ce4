"""The preflight finds each fault of a host; tests/flows/test_queues.py has those of a server."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.flows.settings import Settings
from e2emern.flows.worker import refuse_unfit_host
from e2emern.tasks.errors import InputError
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.sources.runs import begin_run, finish_run, write_run
from tests.disk import full_disk
from tests.flows.world import World
from tests.pages import arguments

Inject = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture
def home(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new home, and settings that name the tiny model and its vocabulary."""
    for name in ("CONFIG", *(name.upper() for name in Settings.model_fields)):
        monkeypatch.delenv(f"E2EMERN_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "e2emern:secret")
    place = Home(tmp_path / "home")
    make_home(place)
    for name, value in {"HOME": place, "MODEL": world.model, "MESH": world.mesh, "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"E2EMERN_{name}", str(value))
    return place.root


def check(*options: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Run `e2emern check --local`, and return its exit code and what each check found."""
    done = CliRunner().invoke(app, [*arguments("operations", "e2emern check --local --json"), *options])
    report = json.loads(done.stdout)
    found = {one["check"]: (one["severity"], one["found"], one["advice"] or "") for one in report["checks"]}
    return done.exit_code, found


def wrong(found: dict[str, tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
    return {name: one for name, one in found.items() if one[0] != "ok"}


def run_of(home: Path, *, ago: timedelta, error: str | None = None, ended: bool = True) -> None:
    began = (datetime.now(UTC) - ago).isoformat()
    run = replace(begin_run(), started=began)
    write_run(Home(home), replace(finish_run(run, error=error), finished=began) if ended else run)


def no_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / "e2emern.toml").write_text("hom = '/data'\n")
    monkeypatch.delenv("E2EMERN_HOME")


def home_is_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "format.json").unlink()
    home.rmdir()
    home.write_text("")


def home_of_another_format(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "format.json").write_text('{"format": 9, "home": "e2emern/9"}')


def read_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2EMERN_HOME", "/proc/home")  # nobody can make a folder there, not even root


def no_locks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: object, flags: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)  # as on NFS without its lock daemon


def locks_that_exclude_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda file, flags: None)


def no_links(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(link: Path, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)  # as on SMB and FAT


def clock_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, ago=timedelta(hours=-2))


def model_damaged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "no-model"
    folder.mkdir()
    monkeypatch.setenv("E2EMERN_MODEL", str(folder))


def mesh_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2EMERN_MESH", "2019")


def no_gpu(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2EMERN_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, ago=timedelta(hours=1), error="OSError: No space left on device")


def long_ago(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, ago=timedelta(hours=40))


def no_md5(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dumps").mkdir()
    (home / "dumps" / "pubmed30n0001.xml.gz").write_bytes(b"")


def little_memory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2EMERN_PROCESSES", "256")  # 460 GB


FAULTS: dict[Inject, tuple[str, str, str]] = {
    no_setting: ("settings", "error", "unknown setting hom"),
    home_is_a_file: ("home", "error", "is a file, expected a folder"),
    home_of_another_format: ("home", "error", "has format 9, of newer releases"),
    read_only: ("home", "error", "/proc: cannot be written"),
    no_locks: ("locks", "error", "has no locks (No locks available)"),
    locks_that_exclude_nobody: ("locks", "error", "two processes held the same lock"),
    no_links: ("rename", "error", "symbolic links cannot be made (Operation not permitted)"),
    clock_behind: ("clock", "error", " behind run 00000001-"),
    model_damaged: ("model", "error", "no config.json; expected a model folder"),
    mesh_missing: ("mesh", "error", "2019: no such file, and"),
    no_gpu: ("device", "error", "device is cuda: no CUDA device was found"),
    stopped: ("last run", "error", "stopped: OSError: No space left on device"),
    long_ago: ("last run", "warning", "was the last one"),
    no_md5: ("checksums", "warning", "1 dump file without MD5: pubmed30n0001.xml.gz"),
    little_memory: ("memory", "warning", "460.8 GB wanted by processes = 256"),
}


def test_a_sound_host_passes(home: Path) -> None:
    code, found = check("--strict")
    assert (code, wrong(found)) == (0, {})
    assert found["home"][1].startswith(f"{home}: writable, ")
    assert sorted(path.name for path in home.iterdir()) == ["format.json"]  # nothing is left
    text = CliRunner().invoke(app, ["check", "--local"])
    assert "ok      locks      a lock keeps another process out\n" in text.stdout
    assert text.stderr == "e2emern: 12 checks, all is well\n"


@pytest.mark.parametrize("inject", FAULTS, ids=lambda one: one.__name__)
def test_each_fault_is_found(inject: Inject, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(home, monkeypatch)
    name, severity, part = FAULTS[inject]
    code, found = check("--strict")
    assert found[name][0] == severity
    assert part in found[name][1]
    assert found[name][2] != ""  # what to do
    assert code == {"warning": 1, "error": 2}[severity]
    assert check()[0] == {"warning": 0, "error": 2}[severity]


def test_a_full_disk_is_found(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_disk(tmp_path / "disk"):
        monkeypatch.setenv("E2EMERN_HOME", str(tmp_path / "disk" / "home"))
        code, found = check()
        assert code == 2
        assert found["disk"][1].endswith(": 0.0 GB free, expected 1.0 GB for a night")


def test_a_worker_reports_trouble_and_does_not_start_if_no_run_can_succeed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works = ["annotate", "backfill"]
    refuse_unfit_host(works)
    assert capsys.readouterr().err == ""
    no_md5(home, monkeypatch)
    model_damaged(home, monkeypatch)  # a backfill with another model still works
    refuse_unfit_host(works)
    model, checksums = capsys.readouterr().err.splitlines()
    assert model.startswith("e2emern: error: model: ")
    assert checksums.startswith("e2emern: warning: checksums: 1 dump file without MD5: pubmed30n0001.xml.gz; ")
    no_gpu(home, monkeypatch)
    with pytest.raises(InputError, match="device: device is cuda: no CUDA device was found"):
        refuse_unfit_host(works)
    refuse_unfit_host(["default"])  # its flows do not use a model
    monkeypatch.delenv("E2EMERN_HOME")  # the home may be a parameter of each run
    refuse_unfit_host(works)
    assert "e2emern: error: settings: no home; set E2EMERN_HOME" in capsys.readouterr().err
    (home.parent / "wrong.toml").write_text("hom = '/data'\n")
    monkeypatch.setenv("E2EMERN_CONFIG", str(home.parent / "wrong.toml"))
    with pytest.raises(InputError, match="unknown setting hom"):
        refuse_unfit_host(["default"])

"""A few of the faults, damages and damaged inputs; `make soak` has all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2emern.warehouse.files import atomic_write
from tests.flows.world import World
from tests.soak.disk_model import DiskModel
from tests.soak.fuzz import damaged_input, fuzz, limited
from tests.soak.injection import Injector, Kind
from tests.soak.seeds import SEEDS
from tests.soak.work import run_in_fork


def _run(module: str, *options: str) -> str:
    """Return the last line of a soak without findings; it runs in a separate process, which it may fork."""
    done = subprocess.run([sys.executable, "-m", module, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_faults_do_no_harm(world: World) -> None:
    options = ("--count", "4", "--seed", "7", "--world", str(world.model.parent))
    assert "of 7 commands" in _run("tests.soak.faults", *options)


def test_damage_is_found(world: World) -> None:
    assert " 0 wrong" in _run("tests.soak.damage", "--count", "2", "--seed", "7", "--world", str(world.model.parent))


def test_damaged_inputs(tmp_path: Path) -> None:
    done = fuzz(tmp_path, inputs=1500, seed=7)
    assert done.wrong == {}
    assert done.inputs == 1500
    assert done.ends["read"] > 300
    assert done.ends["refused"] > 300
    assert damaged_input(7, 3) == damaged_input(7, 3)
    assert {damaged_input(7, number)[0] for number in range(200)} == {*SEEDS}


def test_a_reader_that_never_ends_is_stopped() -> None:
    with pytest.raises(BaseException, match="CPU time"), limited(0.05):
        while True:
            pass


def test_a_power_loss_keeps_what_was_flushed(tmp_path: Path) -> None:
    root, after = tmp_path / "root", tmp_path / "after"
    root.mkdir()
    (root / "file").write_bytes(b"old")
    (root / "link").symlink_to("file")

    def work() -> None:
        disk = DiskModel(root, contents=tmp_path / "contents")
        numbers: list[int] = []
        injector = Injector(root, disk=disk, each=numbers.append)
        injector.install()
        with atomic_write(root / "folder" / "deep" / "kept") as file:
            file.write(b"new")
        (root / "file").write_bytes(b"new")
        (root / "folder" / "lost").write_bytes(b"new")
        (root / "link").unlink()
        injector.pause()
        assert numbers == [*range(len(injector.done))]
        disk.lose_power(after)

    assert run_in_fork(work, log=tmp_path / "log") == 0
    files = {str(path.relative_to(after)): path.read_bytes() for path in after.rglob("*") if path.is_file()}
    assert files == {"file": b"old", "link": b"old", "folder/deep/kept": b"new"}


@pytest.mark.parametrize("kind", ["I/O error", "stale handle", "disk full", "short write"])
def test_an_atomic_write_fails_at_any_operation(tmp_path: Path, kind: Kind) -> None:
    path, log = tmp_path / "root" / "file", tmp_path / "log"
    path.parent.mkdir()
    path.write_bytes(b"old")
    ends = []
    for at in range(20):

        def work(at: int = at) -> None:
            Injector(path.parent, kind, at).install()
            with atomic_write(path) as file:
                file.write(b"new")

        ends.append(run_in_fork(work, log=log))
        assert path.read_bytes() == b"new" or (ends[-1] and path.read_bytes() == b"old")
        assert [one.name for one in path.parent.iterdir()] == ["file"]
        path.write_bytes(b"old")
    assert {*ends} == {0, 1}
    assert ends[-1] == 0  # no operation has this number

"""A file that cannot be read now is never taken for damage, and repairs come to an end."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.sources.counts import SourceCounts
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_run, add_source, add_vocabulary, document, key, publish_it

ONE, TWO = key("a.xml", "1"), key("b.xml", "2")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    add_vocabulary(home)
    for number, source in enumerate((ONE, TWO), start=1):
        add_source(home, source, [document(0, str(number))])
        add_run(home, source)
        publish_it(home)
    assert examine(home) == []
    return home


def files(home: Home) -> set[Path]:
    return {path for path in home.root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_a_file_that_is_a_folder_is_unreadable_and_stops_all_repairs(home: Home) -> None:
    home.mentions(ONE, VERSIONS).write_bytes(b"PAR1")
    home.documents(TWO).unlink()
    home.documents(TWO).mkdir()
    before = files(home)
    found = examine(home, repair=True)
    assert [(one.code, one.path, one.what, one.repaired) for one in found] == [
        ("unreadable", f"documents/{TWO.stem}.parquet", "Is a directory", None),
        ("damaged-file", f"mentions/{MODEL}@{MESH}/{ONE.stem}.parquet", found[1].what, None),
    ]
    assert files(home) == before


def test_storage_that_answers_with_an_error_loses_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """ESTALE at every n-th open in turn: of 62 files 50 were left."""
    before = files(home)
    opened, nth, real = 0, 0, io.open

    def flaky(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        nonlocal opened
        opened += mode == "rb"
        if mode == "rb" and opened == nth:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(file))
        return real(file, mode, *args, **options)

    monkeypatch.setattr(io, "open", flaky)
    assert examine(home, repair=True) == []
    total, opened = opened, 0
    for nth in range(1, total + 1):  # noqa: B007 (`flaky` reads it)
        found = examine(home, repair=True)
        assert {(one.code, one.what, one.repaired) for one in found} <= {("unreadable", "Stale file handle", None)}
        assert files(home) == before
        opened = 0
    assert total > 10


@pytest.mark.parametrize("folder", ["snapshots", "mentions", "runs"])
def test_a_folder_that_cannot_be_listed_loses_nothing(home: Home, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """`Path.glob` takes a folder without permission for an empty one: the link was removed."""
    home.mentions(ONE, VERSIONS).unlink()
    home.warehouse.unlink()
    before, real = files(home), os.scandir

    def refused(path: Any) -> Any:
        if os.fspath(path) == str(home.root / folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refused)
        found = examine(home, repair=True)
    assert ("unreadable", folder, "Permission denied") in {(one.code, one.path, one.what) for one in found}
    assert {one.repaired for one in found} == {None}
    assert files(home) == before


def test_too_many_open_files_lose_nothing(home: Home) -> None:
    """The good snapshot was set aside."""
    before = files(home)
    script = (
        "import os, resource, sys\nfrom pathlib import Path\nfrom e2emern.warehouse.doctor import examine\n"
        "from e2emern.warehouse.layout import Home\nhome = Home(Path(sys.argv[1]))\nexamine(home)\n"
        "used = len(os.listdir('/proc/self/fd'))\n"
        "for more in range(9):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, 1024))\n"
        "    try:\n        print(*{(one.code, one.repaired) for one in examine(home, repair=True)}, sep='\\n')\n"
        "    except OSError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, home.root], capture_output=True, text=True, check=False)
    print(done.stderr)
    assert "Too many open files" in done.stdout + done.stderr
    assert {line for line in done.stdout.splitlines() if line.startswith("(")} == {"('unreadable', None)"}
    assert files(home) == before
    assert examine(home) == []


def test_a_repair_completes_even_if_the_new_file_reuses_other_rows(home: Home) -> None:
    """The file had the recorded size and other bytes: it was published unread, and was damaged forever."""
    mentions = home.mentions(ONE, VERSIONS)
    before = mentions.read_bytes()
    mentions.write_bytes(before[:-1] + b"2")
    assert [one.repaired for one in examine(home, repair=True)] == ["moved to quarantine; annotate its source again"]
    counts = SourceCounts(parsed=1, documents=1, annotated=1, without_text=0, failed=0, deleted=0, carried=1)
    add_source(home, ONE, [document(0, "1")], counts=counts)
    assert (len(mentions.read_bytes()), mentions.read_bytes() == before) == (len(before), False)
    assert [(one.number, one.unchanged) for one in (publish_it(home), publish_it(home))] == [(3, False), (3, True)]
    assert examine(home) == []
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [("quarantined", "deleted")]
    assert publish_it(home).unchanged

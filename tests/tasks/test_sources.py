"""Inputs are found as files, folders and patterns, once each, and named by name and content."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.defaults import SAMPLE
from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.parsers.source_reader import open_source
from e2emern.tasks.sources import count_records, find_sources
from e2emern.warehouse.layout import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.xml", "a.xml.gz", "a.xml.gz.md5", ".hidden", "deep/c [1].xml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(*inputs: str | Path) -> list[str]:
    return [source.path.name for source in find_sources(inputs)]


def test_a_folder_means_its_files(folder: Path) -> None:
    assert names(folder) == ["a.xml.gz", "b.xml", "c [1].xml"]


def test_files_patterns_and_order(folder: Path) -> None:
    assert names(folder / "b.xml", f"{folder}/*.gz") == ["b.xml", "a.xml.gz"]
    assert names(f"{folder}/**/*.xml") == ["b.xml", "c [1].xml"]
    assert names(folder / "deep" / "c [1].xml") == ["c [1].xml"]


def test_inputs_named_twice_are_found_once(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("b.xml")
    assert names(folder / "b.xml", folder, folder / "deep") == ["b.xml", "a.xml.gz", "c [1].xml"]


def test_two_contents_with_one_name_are_reported_with_their_paths(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("another")
    with pytest.raises(InputError) as raised:
        find_sources([folder])
    assert str(raised.value) == (
        f"{folder}/b.xml and {folder}/deep/b.xml have the same name but different content; rename one of them"
    )


def test_a_source_is_named_by_its_name_and_content(folder: Path) -> None:
    (source,) = find_sources([folder / "b.xml"])
    assert (source.key.name, source.key.digest, source.bytes) == ("b.xml", "de7d0d74879ff42f-1", 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.xml", "{folder}/none.xml: no such file or folder"),
        ("none*.xml", "{folder}/none*.xml: no file matches"),
        ("empty", "{folder}/empty: the folder holds no file"),
    ],
)
def test_an_input_that_names_nothing(folder: Path, given: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError) as raised:
        find_sources([folder / given])
    assert str(raised.value) == message.format(folder=folder)


@pytest.mark.parametrize("name", ["a.xml", "a[1].xml"])
def test_a_link_to_nothing_is_reported(tmp_path: Path, name: str) -> None:
    """Brackets in its name are not a pattern."""
    (tmp_path / name).symlink_to(tmp_path / "none")
    with pytest.raises(InputError) as raised:
        find_sources([tmp_path / "*.xml"])
    assert str(raised.value) == f"{tmp_path}/{name}: a broken link"


def test_unreadable_entries_of_a_folder_are_reported_and_the_rest_is_found(folder: Path) -> None:
    (folder / "dangling.xml").symlink_to(folder / "none")
    (folder / "linked").symlink_to(folder / "deep")
    (folder / "linked.xml").symlink_to(folder / "b.xml")
    (folder / "deep" / "loop").symlink_to(folder / "deep" / "loop")
    os.mkfifo(folder / "pipe.xml")
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.xml"))).write_text("latin-1")
    latin = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    latin.mkdir()
    (latin / "within.xml").write_text("within")
    problems: dict[str, str] = {}
    found = find_sources([folder], report=problems.__setitem__)
    assert [source.path.name for source in found] == ["a.xml.gz", "b.xml", "c [1].xml", "linked.xml"]
    assert problems == {
        f"{folder}/caf\\xe9": "its name is not UTF-8; rename it",
        f"{folder}/caf\\xe9.xml": "its name is not UTF-8; rename it",
        f"{folder}/dangling.xml": "a broken link",
        f"{folder}/deep/loop": "a broken link",
        f"{folder}/linked": "a link to a folder is not followed; name the folder itself",
        f"{folder}/pipe.xml": "not a regular file but a pipe, socket or device",
    }
    problems.clear()
    assert find_sources([f"{folder}/pi*.xml", f"{folder}/dang*"], report=problems.__setitem__) == []
    assert list(problems) == [f"{folder}/pipe.xml", f"{folder}/dangling.xml"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="the system has no users")
def test_an_unreadable_subfolder_and_file_are_reported_and_the_rest_is_found() -> None:
    with tempfile.TemporaryDirectory() as name, as_nobody(Path(name)):
        folder = Path(name)
        for each in ("a.xml", "secret.xml", "locked/b.xml"):
            (folder / each).parent.mkdir(exist_ok=True)
            (folder / each).write_text(each)
        (folder / "secret.xml").chmod(0)
        (folder / "locked").chmod(0)
        problems: dict[str, str] = {}
        try:
            found = find_sources([folder], report=problems.__setitem__)
            with pytest.raises(InputError, match=r"locked/b.xml: cannot be read \(Permission denied\)$"):
                find_sources([folder / "locked" / "b.xml"])
        finally:
            (folder / "locked").chmod(0o700)
        assert [source.path.name for source in found] == ["a.xml"]
        assert problems == {
            f"{folder}/locked": "cannot be read (Permission denied)",
            f"{folder}/secret.xml": "cannot be read (Permission denied)",
        }


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give a folder to a user without rights, and run as this user; root may read everything."""
    if os.geteuid():
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("given", ["pipe", "/dev/null"])
def test_a_pipe_or_device_is_refused_without_waiting(tmp_path: Path, given: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as raised:
        find_sources([tmp_path / given])
    assert str(raised.value) == f"{tmp_path / given}: not a regular file but a pipe, socket or device"
    with pytest.raises(SourceError) as unread, open_source(tmp_path / given):
        pass
    assert str(unread.value) == str(raised.value)


def test_records_are_counted_for_the_time_left(tmp_path: Path) -> None:
    assert count_records(find_sources([SAMPLE])[0]) == 27
    many = tmp_path / "many.gz"
    many.write_bytes(gzip.compress(b"1|t|One\n1|a|Two\n\n" * 50_000))
    assert count_records(find_sources([many])[0]) == 50_000
    (tmp_path / "cut.gz").write_bytes(many.read_bytes()[:-20])
    assert count_records(find_sources([tmp_path / "cut.gz"])[0]) > 1


def test_documents_of_a_home_are_counted_from_their_footer(tmp_path: Path) -> None:
    pq.write_table(pa.table({"record": range(7)}), tmp_path / "a.parquet")
    assert count_records(find_sources([tmp_path / "a.parquet"])[0]) == 7


def test_a_home_within_a_folder_is_not_an_input(folder: Path) -> None:
    home = Home(folder / "home")
    (home.root / "dumps").mkdir(parents=True)
    (home.root / "warehouse.duckdb").touch()
    (home.root / "dumps" / "d.xml").touch()
    assert [source.path.name for source in find_sources([folder], home=home)] == ["a.xml.gz", "b.xml", "c [1].xml"]
    assert [source.path.name for source in find_sources([home.dumps], home=home)] == ["d.xml"]
    with pytest.raises(InputError, match=r"home: the folder holds no file$"):
        find_sources([home.root], home=home)
    with pytest.raises(InputError, match=r"^an input without a name; expected a file, a folder or a pattern$"):
        find_sources([""], home=home)

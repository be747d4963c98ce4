"""Inputs are found as files, folders and patterns, once each, and named by name and content."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from defaults import SAMPLE
from tasks.errors import InputError
from tasks.sources import count_records, find_sources
from warehouse.layout import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.xml", "a.xml.gz", "a.xml.gz.md5", ".hidden", "deep/c [1].xml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(*inputs: str | Path) -> list[str]:
    return [source.path.name for source in find_sources(inputs)]


def test_a_folder_stands_for_its_files(folder: Path) -> None:
    assert names(folder) == ["a.xml.gz", "b.xml", "c [1].xml"]


def test_files_patterns_and_order(folder: Path) -> None:
    assert names(folder / "b.xml", f"{folder}/*.gz") == ["b.xml", "a.xml.gz"]
    assert names(f"{folder}/**/*.xml") == ["b.xml", "c [1].xml"]
    assert names(folder / "deep" / "c [1].xml") == ["c [1].xml"]


def test_once_each_even_where_named_twice(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("b.xml")
    assert names(folder / "b.xml", folder, folder / "deep") == ["b.xml", "a.xml.gz", "c [1].xml"]


def test_two_contents_of_one_name_are_reported_with_their_places(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("another")
    with pytest.raises(InputError) as raised:
        find_sources([folder])
    assert str(raised.value) == (
        f"{folder}/b.xml and {folder}/deep/b.xml have one name and different content; rename one of them"
    )


def test_a_source_is_named_by_its_name_and_content(folder: Path) -> None:
    (source,) = find_sources([folder / "b.xml"])
    assert (source.key.name, source.key.digest, source.bytes) == ("b.xml", "de7d0d74879ff42f", 5)


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
    assert str(raised.value) == f"{tmp_path}/{name}: no such file or folder"


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


def test_a_home_within_a_folder_is_no_input(folder: Path) -> None:
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

"""Paths of a home, and names that are safe as file names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.warehouse.errors import NameRefusedError
from e2emern.warehouse.layout import Home, SourceKey, Versions, digest_file, file_name
from e2emern.warehouse.snapshots.views import literal, literal_path

HOME = Home(Path("/data/home"))
KEY = SourceKey("pubmed26n0001.xml.gz", "00112233445566ff")


@pytest.mark.parametrize("name", ["a?b", "a\\b", "a\nb", "a\x1b[1mb", os.fsdecode(b"caf\xe9")])
def test_a_home_that_duckdb_cannot_open_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        NameRefusedError, match=r"its path must not contain '\?', backslashes, control .*another folder$"
    ):
        Home(tmp_path / name / "home")


@pytest.mark.parametrize("name", ["a*b", "a[b]", "[", "#%41", 'it\'s "x"', "caf\u00e9 {a,b}", "s3:", "~$;&"])
def test_any_other_home_can_be_opened(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    home.root.mkdir()
    (tmp_path / "ab").mkdir()  # which `a*b` would match as a pattern
    source = home.root / "one.parquet"
    with duckdb.connect(home.root / "x.duckdb") as con:
        con.execute(f"COPY (SELECT 1 AS a) TO {literal(str(source))}")
        con.execute(f"CREATE VIEW v AS SELECT * FROM read_parquet({literal(literal_path(source))})")
    with duckdb.connect(home.root / "x.duckdb", read_only=True) as con:
        assert con.execute("FROM v").fetchall() == [(1,)]


def test_every_path() -> None:
    stem = "pubmed26n0001.xml.gz.00112233445566ff"
    assert HOME.documents(KEY) == Path(f"/data/home/documents/{stem}.parquet")
    assert HOME.deletions(KEY) == Path(f"/data/home/deletions/{stem}.parquet")
    assert HOME.failures(KEY) == Path(f"/data/home/failures/{stem}.parquet")
    assert HOME.unread(KEY, Versions("m-1", "2024")) == Path(f"/data/home/failures/m-1@2024/{stem}.parquet")
    files = HOME.files(KEY, Versions("m-1", "2024"))
    assert {kind: HOME.root / path for kind, path in files.items()} == {
        "documents": HOME.documents(KEY),
        "mentions": HOME.mentions(KEY, Versions("m-1", "2024")),
        "failures": HOME.failures(KEY),
        "unread": HOME.unread(KEY, Versions("m-1", "2024")),
        "deletions": HOME.deletions(KEY),
    }
    merged = HOME.compacted(files["documents"], "0123")
    assert merged == "compacted/documents/0123.parquet"
    assert HOME.compacted(merged, "4567") == "compacted/documents/4567.parquet"
    assert HOME.mentions(KEY, Versions("m-1", "2024")) == Path(f"/data/home/mentions/m-1@2024/{stem}.parquet")
    assert HOME.entities("2024") == Path("/data/home/entities/2024.parquet")
    assert HOME.entity_tree("2024") == Path("/data/home/entities/2024~tree.parquet")
    assert HOME.model("m-1") == Path("/data/home/models/m-1")
    assert HOME.dumps == Path("/data/home/dumps")
    assert HOME.banks == Path("/data/home/banks")
    assert HOME.run("20260101T000000Z") == Path("/data/home/runs/20260101T000000Z.json")
    assert HOME.snapshot(7) == Path("/data/home/snapshots/7.duckdb")
    assert HOME.warehouse == Path("/data/home/warehouse.duckdb")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pubmed26n0001.xml.gz", "pubmed26n0001.xml.gz"),
        ("a b", "a%20b"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("line\nbreak\x7f", "line%0Abreak%7F"),
        ("C:\\x*?[1]", "C%3A%5Cx%2A%3F%5B1%5D"),
        ("50%", "50%25"),
        ("m@2024", "m%402024"),
        ("a~b", "a%7Eb"),
        ("é", "%C3%A9"),
    ],
)
def test_name_becomes_file_name(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_long_name_is_cut_and_distinguished() -> None:
    one, other = "x" * 5000 + "1", "x" * 5000 + "2"
    assert len(file_name(one)) == 120
    assert file_name(one) != file_name(other)
    assert file_name(one)[:87] == "x" * 87


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(NameRefusedError, match="rename the input") as caught:
        SourceKey(name, "0" * 16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digest", ["", "0" * 15, "0" * 17, "../../../../../x", "ABCDEF0123456789", "0" * 16 + "\n"])
def test_impossible_digest_is_refused(digest: str) -> None:
    with pytest.raises(NameRefusedError, match="expected 16 lower-case hex digits"):
        SourceKey("a", digest)


KEYS = st.builds(
    SourceKey,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200),
    st.sampled_from(["0" * 16, "f" * 16]),
)


@settings(max_examples=200, deadline=None)
@given(KEYS, KEYS)
def test_stems_are_safe_and_differ(one: SourceKey, other: SourceKey) -> None:
    assert (one.stem == other.stem) == (one == other)
    assert one.stem.isascii()
    assert not set(one.stem) & set("/\\:*?[]\"'<>| ")
    assert not one.stem.startswith(".")
    assert len(one.stem) <= 137
    assert HOME.documents(one).parent == Path("/data/home/documents")


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1_000_000)
    assert digest_file(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()[:16]
    path.write_bytes(b"")
    assert digest_file(path) == "e3b0c44298fc1c14"

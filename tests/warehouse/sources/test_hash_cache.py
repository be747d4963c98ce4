"""Digests of input files are kept, and believed while size and time of a file are what they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.sources.hash_cache import KeptDigest, digesting, forget_digest, kept_digests

ONE, OTHER = "7692c3ad3540bb80", "3fc4ccfe745870e2"  # of "one" and "two"
NOON = 1_700_000_000_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return written(tmp_path / "dump.xml", "one")


def written(path: Path, text: str, *, mtime_ns: int | None = NOON) -> Path:
    path.write_text(text)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def digest_of(home: Home | None, path: Path) -> str:
    with digesting(home) as digest:
        return digest(path).digest


def test_unchanged_files_are_not_read_again(home: Home, dump: Path) -> None:
    assert digest_of(home, dump) == ONE
    written(dump, "two")  # size and time are those of before: whoever reads it sees the change
    assert digest_of(home, dump) == ONE
    assert digest_of(None, dump) == OTHER == digest_file(dump)


@pytest.mark.parametrize(
    ("text", "mtime_ns", "digest"), [("two", NOON + 1, OTHER), ("two", NOON - 1, OTHER), ("one!", NOON, "")]
)
def test_another_time_or_size_is_noticed(home: Home, dump: Path, text: str, mtime_ns: int, digest: str) -> None:
    digest_of(home, dump)
    written(dump, text, mtime_ns=mtime_ns)
    assert digest_of(home, dump) == (digest or digest_file(dump)) != ONE
    assert kept_digests(home)[str(dump)] == KeptDigest(bytes=len(text), mtime_ns=mtime_ns, digest=digest_file(dump))


def test_the_digest_of_a_very_new_file_is_not_cached(home: Home, tmp_path: Path) -> None:
    dump = written(tmp_path / "dump.xml", "one", mtime_ns=None)
    assert digest_of(home, dump) == ONE
    assert kept_digests(home) == {}


def test_a_link_counts_as_its_target(home: Home, dump: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.xml"
    link.symlink_to(dump)
    digest_of(home, link)
    assert list(kept_digests(home)) == [str(dump)]
    link.unlink()
    link.symlink_to(written(tmp_path / "other.xml", "two"))
    assert digest_of(home, link) == OTHER


def test_missing_files_leave_the_cache(home: Home, dump: Path, tmp_path: Path) -> None:
    digest_of(home, dump)
    dump.unlink()
    other = written(tmp_path / "other.xml", "two")
    digest_of(home, other)
    assert list(kept_digests(home)) == [str(other)]
    with pytest.raises(FileNotFoundError):
        digest_of(home, dump)


def test_digests_are_kept_if_a_later_file_fails(home: Home, dump: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), digesting(home) as digest:
        digest(dump)
        digest(tmp_path / "none.xml")
    assert list(kept_digests(home)) == [str(dump)]


def test_two_processes_keep_the_digests_of_both(home: Home, dump: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.xml", "two")
    with digesting(home) as digest:
        digest(dump)
        digest_of(home, other)
    assert set(kept_digests(home)) == {str(dump), str(other)}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"bytes": 1}}'])
def test_a_damaged_cache_is_rebuilt(home: Home, dump: Path, content: str) -> None:
    home.root.mkdir()
    home.digests.write_text(content)
    assert digest_of(home, dump) == ONE
    assert list(kept_digests(home)) == [str(dump)]


def test_a_home_that_cannot_be_written_keeps_nothing(dump: Path) -> None:
    assert digest_of(Home(dump / "no folder"), dump) == ONE


def test_a_dropped_digest_is_computed_again(home: Home, dump: Path) -> None:
    forget_digest(home, dump)
    digest_of(home, dump)
    written(dump, "two")
    forget_digest(home, dump)
    assert digest_of(home, dump) == OTHER

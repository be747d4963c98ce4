"""Every problem of a home is found by its code, and repaired if that is safe."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2emern.warehouse import doctor
from e2emern.warehouse.doctor import CODES, Finding, examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.snapshots.refs import active_rollback, current_number, roll_back
from e2emern.warehouse.sources.counts import pending
from e2emern.warehouse.sources.history import read_history, sum_up
from e2emern.warehouse.sources.runs import begin_run, may_be_running, write_run
from tests.warehouse.damages import (
    NEW,
    ONE,
    TWO,
    change_a_dump_unseen,
    codes,
    copy_without_links,
    damage,
    damage_a_run,
    damage_a_snapshot_that_was_being_pruned,
    damage_an_old_snapshot,
    damage_what_is_not_published,
    damaged_part,
    ended_process,
    flip_a_bit_of_a_table,
    flip_a_byte,
    half_a_bank,
    half_a_snapshot,
    half_done,
    half_written,
    killed_run,
    link_another_name,
    link_nowhere,
    lose_documents,
    merged_for_nobody,
    no_link,
    part_of_a_bank,
    part_of_a_source_that_is_done,
    part_of_a_source_that_is_gone,
    something_else_in_place_of_the_link,
    truncate_mentions,
)
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_run, add_source, add_vocabulary, document, publish_it

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("sound"))
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "1")], failures=[(1, "no PMID")])
    add_run(home, ONE)
    publish(home, VERSIONS)
    add_source(home, TWO, [document(0, "2")])
    add_run(home, TWO)
    publish(home, VERSIONS)
    return home


@pytest.fixture
def home(sound: Home, tmp_path: Path) -> Home:
    """A copy in another folder; all tests but one repair that first."""
    shutil.copytree(sound.root, tmp_path / "home", symlinks=True)
    home = Home(tmp_path / "home")
    assert codes(examine(home, repair=True)) == ["moved-home"]
    return home


REPAIRABLE: list[tuple[str, Callable[[Home], str], str]] = [
    ("missing-file", lose_documents, "moved to quarantine; annotate its source again"),
    ("damaged-file", truncate_mentions, "moved to quarantine; annotate its source again"),
    ("damaged-file", flip_a_byte, "moved to quarantine; annotate its source again"),
    ("damaged-file", damage_what_is_not_published, "moved to quarantine; annotate its source again"),
    ("changed-dump", change_a_dump_unseen, "the next run reads it again"),
    ("unfinished-source", half_done, "moved to quarantine"),
    ("orphan-file", merged_for_nobody, "moved to quarantine"),
    ("orphan-file", part_of_a_source_that_is_gone, "moved to quarantine"),
    ("damaged-file", damaged_part, "moved to quarantine"),
    ("leftover", part_of_a_source_that_is_done, "deleted"),
    ("leftover", half_written, "deleted"),
    ("leftover", half_a_bank, "deleted"),
    ("leftover", part_of_a_bank, "deleted"),
    ("leftover", half_a_snapshot, "deleted"),
    ("broken-link", link_nowhere, "it now shows snapshot 2"),
    ("broken-link", no_link, "it now shows snapshot 2"),
    ("broken-link", copy_without_links, "it now shows snapshot 1"),
    ("broken-link", link_another_name, "it now shows snapshot 1"),
    (
        "broken-link",
        something_else_in_place_of_the_link,
        "moved to quarantine; it now shows snapshot 2",
    ),
    ("damaged-snapshot", damage_an_old_snapshot, "moved to quarantine"),
    ("damaged-snapshot", flip_a_bit_of_a_table, "moved to quarantine"),
    ("damaged-snapshot", damage_a_snapshot_that_was_being_pruned, "moved to quarantine"),
    ("stale-run", killed_run, "recorded as killed"),
    ("damaged-run", damage_a_run, "moved to quarantine"),
]


def test_a_sound_home(home: Home) -> None:
    assert examine(home) == []
    assert examine(home, repair=True) == []


@pytest.mark.parametrize(("code", "harm", "repaired"), REPAIRABLE, ids=lambda value: getattr(value, "__name__", ""))
def test_found_and_repaired(home: Home, code: str, harm: Callable[[Home], str], repaired: str) -> None:
    expected = harm(home)
    before = sorted(home.root.rglob("*"))
    (found,) = examine(home)
    assert f"{found.path}: {found.what}".startswith(expected)
    assert (found.code, found.repaired) == (code, None)
    assert sorted(home.root.rglob("*")) == before
    assert examine(home, repair=True) == [replace(found, repaired=repaired)]
    if "annotate" not in repaired:
        assert examine(home) == []


def test_a_file_in_place_of_the_link_stays_in_quarantine(home: Home) -> None:
    something_else_in_place_of_the_link(home)
    examine(home, repair=True)
    assert examine(home, repair=True) == []
    assert (home.quarantine / "warehouse.duckdb").is_file()


def test_leftovers_of_one_folder_are_all_reported_as_deleted(home: Home) -> None:
    """The first repair deleted all of them, and the findings of the others then reported a running writer."""
    for name in (".writing-1-a", ".writing-2-b"):
        (home.root / "documents" / name).write_bytes(b"half")
    assert [one.repaired for one in examine(home, repair=True)] == ["deleted", "deleted"]


@pytest.mark.parametrize("harm", [lose_documents, truncate_mentions, flip_a_byte])
def test_after_a_repair_the_next_run_writes_the_files_again(home: Home, harm: Callable[[Home], str]) -> None:
    harm(home)
    assert pending(home, [ONE, TWO], VERSIONS) == []
    examine(home, repair=True)
    assert pending(home, [ONE, TWO], VERSIONS) == [ONE]
    add_source(home, ONE, [document(0, "1")], failures=[(1, "no PMID")])
    assert examine(home) == []


def files(home: Home) -> set[Path]:
    return {path for path in home.root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_a_file_in_quarantine_is_deleted_once_it_was_written_again(home: Home) -> None:
    """The repair deleted it, though it could be right about the disk and wrong about the file."""
    truncate_mentions(home)
    broken = home.mentions(ONE, VERSIONS).read_bytes()
    aside = home.quarantine / home.mentions(ONE, VERSIONS).relative_to(home.root)
    examine(home, repair=True)
    assert aside.read_bytes() == broken
    examine(home, repair=True)
    assert aside.read_bytes() == broken
    home.mentions(ONE, VERSIONS).write_bytes(b"damaged again")
    examine(home, repair=True)
    assert {path.name for path in files(home) if home.quarantine in path.parents} == {aside.name, f"{aside.name}~2"}
    add_source(home, ONE, [document(0, "1")], failures=[(1, "no PMID")])
    assert examine(home) == []
    found = examine(home, repair=True)
    assert [(one.code, one.path, one.repaired) for one in found] == [
        ("quarantined", aside.relative_to(home.root).as_posix() + suffix, "deleted") for suffix in ("", "~2")
    ]
    assert not {path for path in files(home) if home.quarantine in path.parents}


def test_after_a_rollback_to_another_model_its_files_are_made_again(home: Home) -> None:
    add_source(home, ONE, [document(0, "1")], failures=[(1, "no PMID")], model="other-1")
    add_source(home, TWO, [document(0, "2")], model="other-1")
    publish(home, Versions("other-1", MESH))
    roll_back(home, 2)
    assert pending(home, [ONE, TWO], VERSIONS) == []
    lose_documents(home)
    assert codes(examine(home, repair=True)) == ["missing-file"]
    assert pending(home, [ONE, TWO], VERSIONS) == [ONE]


def test_the_current_snapshot_is_damaged(home: Home) -> None:
    damage(home.snapshot(2))
    found = examine(home, repair=True)
    assert [(one.code, one.repaired) for one in found] == [
        ("damaged-snapshot", "moved to quarantine"),
        ("broken-link", "it now shows snapshot 1"),
    ]
    now = current_snapshot(home)
    assert now is not None
    assert now.number == 1
    assert examine(home) == []


def test_a_repair_shows_no_snapshot_that_was_withdrawn(home: Home) -> None:
    """The newest that could be read was linked, though a rollback had left it behind."""
    roll_back(home, 1)
    add_source(home, NEW, [document(0, "3")])
    assert publish(home, VERSIONS, accept="it is right").number == 3
    damage(home.snapshot(3))
    assert [one.repaired for one in examine(home, repair=True)] == [
        "moved to quarantine",
        "it now shows snapshot 1",
    ]
    home.warehouse.unlink()
    assert [one.repaired for one in examine(home, repair=True)] == ["it now shows snapshot 1"]


def test_what_was_withdrawn_and_shown_again_may_be_linked(home: Home) -> None:
    roll_back(home, 1)
    roll_back(home, 2)
    add_source(home, NEW, [document(0, "3")])
    damage(home.snapshot(publish_it(home).number))
    assert examine(home, repair=True)[1].repaired == "it now shows snapshot 2"


def test_after_a_copy_without_links_the_rollback_is_still_active(home: Home) -> None:
    copy_without_links(home)
    examine(home, repair=True)
    assert (current_number(home), active_rollback(home) is None) == (1, False)


def test_the_only_snapshot_is_damaged(home: Home) -> None:
    """The link stayed, to nowhere, and nothing could be published."""
    damage(home.snapshot(1))
    damage(home.snapshot(2))
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [
        ("damaged-snapshot", "moved to quarantine"),
        ("damaged-snapshot", "moved to quarantine"),
        ("broken-link", "nothing is shown until the next publish, which starts over"),
    ]
    assert examine(home) == []
    assert current_snapshot(home) is None
    published = publish_it(home)
    assert (published.number, published.documents) == (3, 2)  # a number is given once


def test_a_damaged_snapshot_that_was_set_aside_stops_no_pruning(home: Home) -> None:
    damage_a_snapshot_that_was_being_pruned(home)
    with pytest.raises(WarehouseError, match=r"doctor --repair sets \.pruned-1\.duckdb aside"):
        prune(home, keep=1, grace_s=0)
    examine(home, repair=True)
    assert prune(home, keep=1, grace_s=0).deleted == [1]


@pytest.mark.parametrize("model", [MODEL, "other-1"])
def test_an_unpublished_source_is_written_again(home: Home, model: str) -> None:
    """It counted as done by a model of no snapshot, and had no documents."""
    add_source(home, NEW, [document(0, "3")], model=model)
    home.documents(NEW).write_bytes(b"PAR1")
    assert codes(examine(home, repair=True)) == ["damaged-file"]
    assert pending(home, [NEW], Versions(model, MESH)) == [NEW]


def test_a_source_of_a_home_without_snapshot_is_written_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_source(home, NEW, [document(0, "3")])
    home.documents(NEW).write_bytes(b"PAR1")
    examine(home, repair=True)
    assert pending(home, [NEW], VERSIONS) == [NEW]


def test_a_repair_takes_nothing_from_earlier_snapshots(home: Home) -> None:
    add_source(home, ONE, [document(0, "1")], failures=[(1, "no PMID")], model="other-1")
    add_source(home, TWO, [document(0, "2")], model="other-1")
    publish(home, Versions("other-1", MESH))
    lose_documents(home)
    assert codes(examine(home, repair=True)) == ["missing-file"]
    assert pending(home, [ONE], Versions("other-1", MESH)) == [ONE]
    assert home.mentions(ONE, VERSIONS).exists()
    assert home.unread(ONE, Versions("other-1", MESH)).exists()


def test_what_cannot_be_repaired_remains(home: Home) -> None:
    home.entities(MESH).unlink()
    (home.root / "documents" / "notes.txt").touch()
    found = examine(home, repair=True)
    assert [(one.code, one.path, one.repaired) for one in found] == [
        ("missing-file", "entities/2024.parquet", None),
        ("foreign-file", "documents/notes.txt", None),
    ]


def test_nothing_is_taken_from_an_active_run(home: Home) -> None:
    write_run(home, begin_run())
    half_done(home)
    half_written(home)
    lose_documents(home)
    writing = home.root / "documents" / ".writing-1-a"
    with writing.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [("missing-file", None)]
    assert home.mentions(ONE, VERSIONS).exists()
    assert home.documents(NEW).exists()


@pytest.mark.parametrize("ends", [True, False])
def test_nothing_is_taken_from_a_run_that_begins_meanwhile(
    home: Home, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """The run begins after the files were looked at, while the dumps are read."""
    half_done(home)

    def annotated_meanwhile(home: Home) -> dict[str, object]:
        add_source(home, NEW, [document(0, "3")])
        if ends:
            add_run(home, NEW)
        else:
            write_run(home, begin_run())
        return {}

    monkeypatch.setattr(doctor, "kept_digests", annotated_meanwhile)
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [("unfinished-source", None)]
    assert publish_it(home).documents == 3


def test_whether_a_run_is_active(tmp_path: Path) -> None:
    run = begin_run()
    assert may_be_running(Home(tmp_path), run)
    assert not may_be_running(Home(tmp_path), replace(run, finished=run.started))
    assert not may_be_running(Home(tmp_path), replace(run, error="killed"))
    assert not may_be_running(Home(tmp_path), replace(run, process=ended_process()))
    elsewhere = replace(run, host="elsewhere", process=ended_process())
    assert may_be_running(Home(tmp_path), elsewhere)
    assert not may_be_running(
        Home(tmp_path), replace(elsewhere, started=(datetime.now(UTC) - timedelta(days=8)).isoformat())
    )
    assert may_be_running(Home(tmp_path), replace(run, process=1))
    started = datetime.fromisoformat(run.started)
    of_another = replace(run, process=os.getpid(), started=(started - timedelta(days=8)).isoformat())
    assert not may_be_running(Home(tmp_path), of_another), "the process has the id of one that was killed"


def test_an_unreadable_record_of_rollbacks_is_reported_and_kept(home: Home) -> None:
    roll_back(home, 1)
    record = home.snapshots / "rollbacks.json"
    record.write_bytes(damaged := record.read_bytes().replace(b'"left": 2', b'"left": 3'))
    found = Finding("damaged-rollbacks", "snapshots/rollbacks.json", "is not a valid record of rollbacks")
    assert examine(home) == examine(home, repair=True) == [found]
    assert record.read_bytes() == damaged
    record.unlink()
    assert examine(home) == []


def test_a_damaged_checkpoint_is_rebuilt_from_the_run_records(home: Home) -> None:
    sum_up(home, least=0)
    written = home.runs_checkpoint.read_bytes()
    assert examine(home) == []
    at = written.index(ONE.digest.encode())
    home.runs_checkpoint.write_bytes(written[:at] + b"9" + written[at + 1 :])  # valid JSON, of another source
    found = Finding("damaged-checkpoint", "runs-checkpoint.json", "differs from what was written")
    assert examine(home) == [found]
    assert read_history(home).seen(ONE)
    assert examine(home, repair=True) == [replace(found, repaired="written again")]
    assert home.runs_checkpoint.read_bytes() == written
    assert examine(home, repair=True) == []


def test_homes_without_anything(tmp_path: Path) -> None:
    assert examine(Home(tmp_path)) == []
    with pytest.raises(WarehouseError, match="does not exist; annotate something into it first"):
        examine(Home(tmp_path / "none"))


def test_the_runbook_has_a_section_for_every_code() -> None:
    assert re.findall(r"^## `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(CODES)


def test_every_code_is_found_here() -> None:
    assert {code for code, _, _ in REPAIRABLE} | {
        "unreadable",
        "moved-home",
        "foreign-file",
        "quarantined",
        "damaged-rollbacks",
        "damaged-model",
        "damaged-champion",
        "damaged-checkpoint",
        "damaged-evaluation",  # tests/warehouse/registry/test_evaluations.py
        "no-format",  # tests/warehouse/test_home_format.py
        "damaged-format",
    } == set(CODES)

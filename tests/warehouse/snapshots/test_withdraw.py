"""Withdrawing a source: what is shown without it, what prune then deletes, and how it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.snapshots import withdraw as module
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.snapshots.refs import roll_back
from e2emern.warehouse.snapshots.withdraw import withdraw, withdrawals
from e2emern.warehouse.sources import history as histories
from e2emern.warehouse.sources.history import History, read_history, recorded_run, sum_up
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key

EARLIER, LATER, OTHER = key("b.txt", "1"), key("b.txt", "2"), key("a.txt", "3")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """`b.txt`, issued twice, revised document 1 of `a.txt`."""
    home = Home(tmp_path)
    add_vocabulary(home)
    for source, text in ((OTHER, "First"), (EARLIER, "Second"), (LATER, "Third")):
        add_source(home, source, [document(0, "1", text=text), document(1, source.digest[0], text="Own")])
        add_run(home, source)
    publish(home, VERSIONS)
    return home


def shown(home: Home) -> list[tuple[str, str]]:
    with open_snapshot(home) as connection:
        return connection.execute("SELECT document_id, title FROM documents ORDER BY ALL").fetchall()


def files(home: Home, *sources: SourceKey) -> int:
    return sum(len(list(home.root.rglob(f"{source.stem}.parquet"))) for source in sources)


def test_earlier_revisions_are_shown_again(home: Home) -> None:
    assert shown(home) == [("1", "Third"), ("2", "Own"), ("3", "Own")]
    snapshot = withdraw(home, "b.txt", why="wrong column")
    assert (snapshot.number, snapshot.operation, snapshot.sources) == (2, "withdraw", 1)
    assert shown(home) == [("1", "First"), ("3", "Own")]
    ((name, by, why),) = [(one.source, one.by, one.why) for one in withdrawals(home)]
    assert (name, why) == ("b.txt", "wrong column")
    assert by
    run = read_history(home).runs[-1]
    assert (run.options["operation"], run.finished is not None) == ("withdraw", True)
    again = withdraw(home, "b.txt")
    assert (again.number, again.unchanged, len(read_history(home).runs)) == (2, True, 4)
    assert publish(home, VERSIONS).unchanged


def test_after_a_kill_before_publishing_the_same_call_completes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw(home, "b.txt")
    assert shown(home)[0] == ("1", "Third")
    withdraw(home, "b.txt")
    assert shown(home) == [("1", "First"), ("3", "Own")]
    assert len(withdrawals(home)) == 1


def test_files_are_deleted_when_no_snapshot_needs_them(home: Home) -> None:
    withdraw(home, "b.txt")
    prune(home, keep=2, grace_s=0)
    assert files(home, EARLIER, LATER, OTHER) == 15
    prune(home, keep=1, grace_s=0)
    assert (files(home, EARLIER, LATER), files(home, OTHER)) == (0, 5)
    assert shown(home) == [("1", "First"), ("3", "Own")]
    assert [one.code for one in examine(home)] == []
    assert publish(home, VERSIONS).unchanged


def test_a_run_with_the_source_brings_it_back(home: Home) -> None:
    withdraw(home, "b.txt")
    with recorded_run(home, [LATER], VERSIONS, todo=(), options={}, with_outcomes=lambda run: run):
        pass
    publish(home, VERSIONS)
    assert shown(home) == [("1", "Third"), ("2", "Own"), ("3", "Own")]
    assert withdrawals(home) == []


def test_other_content_of_the_name_is_not_withdrawn(home: Home) -> None:
    withdraw(home, "b.txt")
    new = key("b.txt", "4")
    assert read_history(home).withdrawn == {EARLIER, LATER}
    add_source(home, new, [document(0, "4")])
    add_run(home, new)
    publish(home, VERSIONS)
    assert shown(home) == [("1", "First"), ("3", "Own"), ("4", "A title")]


def test_a_withdrawn_dump_is_not_in_the_backlog(home: Home) -> None:
    home.dumps.mkdir()
    (home.dumps / "b.txt").write_text("newer than its mentions")
    assert status(home).backlog == ("b.txt",)
    withdraw(home, "b.txt")
    assert status(home).backlog == ()


def test_a_checkpoint_keeps_withdrawals(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    withdraw(home, "b.txt")
    monkeypatch.setattr(histories, "CHECKPOINT_EVERY", 1)
    sum_up(home)
    assert home.runs_checkpoint.exists()
    assert read_history(home).withdrawn == {EARLIER, LATER}
    assert History.from_json(read_history(home).to_json()).withdrawn_by == read_history(home).withdrawn_by


def test_what_cannot_be_withdrawn(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"has no source b.tx; did you mean b.txt\? \(e2emern sources list\)"):
        withdraw(home, "b.tx")
    withdraw(home, "b.txt")
    with pytest.raises(WarehouseError, match=r"holds no source but a.txt; annotate others first, or delete the folder"):
        withdraw(home, "a.txt")
    roll_back(home, 1)
    with pytest.raises(WarehouseError, match=r"nothing was withdrawn: .* went back to snapshot 1; publish first with"):
        withdraw(home, "a.txt")
    with pytest.raises(WarehouseError, match=r"has no snapshot yet|does not exist"):
        withdraw(Home(tmp_path / "none"), "a.txt")

"""What the runs of a home did with each source: recorded briefly, summed up, and the same however it is read."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.sources.history import CHECKPOINT_EVERY, History, read_history, recorded_run, sum_up
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, finish_run, write_run
from tests.warehouse.homes import add_run, key

VERSIONS = Versions("m", "2024")


def listed(home: Home) -> list[tuple[list[tuple[str, str]], int]]:
    """The sources that each record lists, with their outcomes, and how many it only counts."""
    return [([(one.name, one.outcome) for one in run.sources], run.unchanged) for run in read_history(home).runs]


def night(home: Home, *keys: SourceKey, todo: set[SourceKey]) -> None:
    def outcomes(run: RunRecord) -> RunRecord:
        done = [replace(one, outcome="annotated" if one.key in todo else "unchanged") for one in run.sources]
        return replace(run, sources=tuple(done))

    with recorded_run(home, keys, VERSIONS, todo=todo, options={}, with_outcomes=outcomes):
        pass


@pytest.mark.parametrize(
    ("raised", "noted", "error"),
    [
        (None, None, None),
        (None, "a: damaged", "a: damaged"),
        (ValueError("no\nspace"), "a: damaged", "ValueError: no"),
        (KeyboardInterrupt(), None, "KeyboardInterrupt: "),
    ],
)
def test_a_run_is_recorded_before_and_after(
    tmp_path: Path, raised: BaseException | None, noted: str | None, error: str | None
) -> None:
    home = Home(tmp_path)
    done = SourceOutcome(name="a", digest=key("a").digest, outcome="annotated")
    with (
        pytest.raises(type(raised)) if raised else nullcontext(),
        recorded_run(
            home,
            [key("a")],
            Versions("m", "2026"),
            todo={key("a")},
            options={"relink": "2025"},
            with_outcomes=lambda run: replace(run, sources=(done,), stages={"spans": 3}, error=noted),
        ),
    ):
        (begun,) = read_history(home).runs
        assert (begun.finished, begun.error, begun.stages) == (None, None, {})
        assert begun.sources == (replace(done, outcome="begun"),)
        if raised:
            raise raised
    (ended,) = read_history(home).runs
    assert ended.versions == {"e2emern": version("e2emern"), "model": "m", "mesh": "2026"}
    assert (ended.sources, ended.stages, ended.options) == ((done,), {"spans": 3}, {"relink": "2025"})
    assert ended.finished
    assert ended.error == error


def test_a_record_lists_what_the_run_changed_and_counts_the_rest(tmp_path: Path) -> None:
    home = Home(tmp_path)
    keys = [key(f"s{number}") for number in range(50)]
    night(home, *keys, todo=set(keys))
    night(home, *keys, key("new"), todo={key("new")})
    night(home, *keys, key("new"), todo=set())
    assert listed(home)[1:] == [([("new", "annotated")], 50), ([], 51)]
    history = read_history(home)
    first, second, _third = (run.run_id for run in history.runs)
    assert [history.annotator(one, VERSIONS) for one in (keys[-1], key("new"))] == [first, second]
    assert history.seen(keys[0]) == (history.runs[0].run_id,) * 2


def test_content_that_comes_back_is_current_again_as_soon_as_a_run_begins(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old, new = key("a", "1"), key("a", "2")
    night(home, old, todo={old})
    night(home, new, todo={new})
    assert read_history(home).latest == {"a": new}
    with recorded_run(home, [old], VERSIONS, todo=set(), options={}, with_outcomes=lambda run: run):
        assert read_history(home).latest == {"a": old}
    assert listed(home)[-1] == ([("a", "unchanged")], 0)
    assert read_history(home).latest == {"a": old}
    night(home, old, todo=set())
    assert listed(home)[-1] == ([], 1)
    assert read_history(home).latest == {"a": old}


def test_two_inputs_of_one_name_are_refused_also_if_nothing_is_to_be_done(tmp_path: Path) -> None:
    home = Home(tmp_path)
    keys = [key("a", "1"), key("a", "2")]
    for one in keys:
        night(home, one, todo={one})
    with pytest.raises(WarehouseError, match="2 inputs with different content are named a"):
        night(home, *keys, todo=set())


def outcomes(run_id: str, *, model: str = "m", **met: str) -> RunRecord:
    sources = tuple(SourceOutcome(name=name, digest="0" * 16, outcome=outcome) for name, outcome in met.items())
    versions = {"model": model, "mesh": "2024"}
    return RunRecord(run_id=run_id, started="2026-01-01T00:00:00+00:00", host="h", versions=versions, sources=sources)


def test_the_run_that_annotated_each_source() -> None:
    runs = [
        outcomes("1", a="annotated", b="failed", c="begun", d="begun"),  # run 1 was killed
        outcomes("2", a="unchanged", b="damaged", c="unchanged", d="begun", e="not reached"),
        outcomes("3", model="other", a="annotated", e="annotated"),
        outcomes("4", a="annotated", b="part", d="unchanged", e="begun"),
        outcomes("5", d="begun", c="begun"),  # killed too: what is found of c and d is its work
    ]
    history = History(runs)
    found = {name: history.annotator(key(name), Versions("m", "2024")) for name in "abcdef"}
    assert found == {"a": "4", "b": "2", "c": "5", "d": "5", "e": "4", "f": None}


RUNS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("12"),
            st.sampled_from(["begun", "annotated", "unchanged", "failed", "damaged", "not reached", "part"]),
        ),
        max_size=3,
        unique_by=lambda one: one[0],
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(runs=RUNS, ended=st.integers(0, 8))
def test_a_checkpoint_changes_nothing(runs: list[list[tuple[str, str, str]]], ended: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.root.joinpath("runs").mkdir()
        records = []
        for number, sources in enumerate(runs):
            met = tuple(SourceOutcome(name=name, digest=digest * 16, outcome=how) for name, digest, how in sources)
            run = RunRecord(
                run_id=f"{number:08d}-x",
                started="2026-01-01T00:00:00+00:00",
                host="h",
                versions={"model": VERSIONS.model, "mesh": VERSIONS.mesh},
                sources=met,
            )
            records.append(finish_run(run) if number < ended else run)
            write_run(home, records[-1])
        every = History(records)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("e2emern.warehouse.sources.history.CHECKPOINT_EVERY", 1)
            sum_up(home)
        assert home.runs_checkpoint.exists() == bool(runs and ended)
        found = read_history(home)
        assert [run.run_id for run in found.runs] == [run.run_id for run in records]
        keys = [key(name, digest) for name in "abc" for digest in "12"]
        assert [found.seen(one) for one in keys] == [every.seen(one) for one in keys]
        assert [found.annotator(one, VERSIONS) for one in keys] == [every.annotator(one, VERSIONS) for one in keys]
        assert found.latest == every.latest


def test_a_checkpoint_is_made_after_many_runs_and_is_safe_to_lose(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ids = [add_run(home, key(f"s{number}")) for number in range(CHECKPOINT_EVERY - 1)]
    night(home, todo=set())
    assert len(read_history(home).runs) == CHECKPOINT_EVERY
    keys = [key(f"s{number}") for number in range(CHECKPOINT_EVERY - 1)]
    seen = list(map(read_history(home).seen, keys))
    assert None not in seen
    assert home.runs_checkpoint.exists()
    kept = home.runs_checkpoint.read_bytes()
    for damaged in (b"", b"{}", b"[1]", kept[: len(kept) // 2]):
        home.runs_checkpoint.write_bytes(damaged)
        assert list(map(read_history(home).seen, keys)) == seen
    home.runs_checkpoint.write_bytes(kept)
    assert not any(run.sources for run in read_history(home).runs)  # read from the checkpoint
    home.run(ids[0]).unlink()  # somebody deleted a record, so that the sum is wrong
    assert list(map(read_history(home).seen, keys)) == [None, *seen[1:]]

"""Records of runs come back in order, and refuse two inputs of one name."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from tests.warehouse.homes import add_run, key
from warehouse.errors import WarehouseError
from warehouse.layout import Home, Versions
from warehouse.sources.runs import (
    RunRecord,
    SourceOutcome,
    annotators,
    begin_run,
    finish_run,
    may_be_running,
    read_runs,
    recorded_run,
    write_run,
)


def test_run_comes_back_and_is_replaced_at_its_end(tmp_path: Path) -> None:
    home = Home(tmp_path)
    run = begin_run(versions={"model": "m"}, options={"device": "cpu", "inputs": ["a"]})
    write_run(home, run)
    assert read_runs(home) == [run]
    ended = finish_run(
        replace(
            run,
            stages={"low": {"spans": 3, "seconds": 0.5}},
            sources=(SourceOutcome(name="a", digest="0" * 16, outcome="annotated", seconds={"parse": 0.25}),),
        ),
        error="out of memory",
    )
    write_run(home, ended)
    assert read_runs(home) == [ended]
    assert ended.finished is not None
    assert datetime.fromisoformat(ended.finished) >= datetime.fromisoformat(run.started)
    assert ended.sources[0].key == key("a")


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
            options={"relink": "2025"},
            with_outcomes=lambda run: replace(run, sources=(done,), stages={"spans": 3}, error=noted),
        ),
    ):
        (begun,) = read_runs(home)
        assert (begun.finished, begun.error, begun.stages) == (None, None, {})
        assert begun.sources == (replace(done, outcome="begun"),)
        if raised:
            raise raised
    (ended,) = read_runs(home)
    assert ended.versions == {"e2emern": version("e2emern"), "model": "m", "mesh": "2026"}
    assert (ended.sources, ended.stages, ended.options) == ((done,), {"spans": 3}, {"relink": "2025"})
    assert ended.finished
    assert ended.error == error


def test_runs_are_in_order(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ids = [add_run(home) for _ in range(3)]
    assert [run.run_id for run in read_runs(home)] == sorted(ids)
    assert read_runs(Home(tmp_path / "absent")) == []


def test_a_process_that_began_after_the_run_is_another(tmp_path: Path) -> None:
    began = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    run = replace(begin_run(), started=(began + timedelta(seconds=1)).isoformat())
    assert may_be_running(run)
    assert not may_be_running(replace(run, started=(began - timedelta(hours=1)).isoformat()))


def test_two_inputs_of_one_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(WarehouseError, match=r"^2 inputs with different content are named a; give them different"):
        add_run(home, key("a", "1"), key("b", "1"), key("a", "2"))
    assert read_runs(home) == []
    add_run(home, key("a", "1"), key("a", "1"))  # the same file twice does no harm


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"sources": [], "what": 1}'])
def test_file_that_is_no_run(tmp_path: Path, content: str) -> None:
    home = Home(tmp_path)
    home.runs.mkdir()
    (home.runs / "x.json").write_text(content)
    with pytest.raises(WarehouseError, match=r"x\.json is not a valid run record; move it away"):
        read_runs(home)


def outcomes(run_id: str, *, model: str = "m", **met: str) -> RunRecord:
    sources = tuple(SourceOutcome(name=name, digest="0" * 16, outcome=outcome) for name, outcome in met.items())
    versions = {"model": model, "mesh": "2024"}
    return RunRecord(run_id=run_id, started="2026-01-01T00:00:00+00:00", host="h", versions=versions, sources=sources)


def test_the_run_that_annotated_each_source() -> None:
    runs = [
        outcomes("1", a="annotated", b="failed", c="begun", d="begun"),  # c was done when run 1 was killed
        outcomes("2", a="unchanged", b="damaged", c="unchanged", d="begun", e="not reached"),
        outcomes("3", model="other", a="annotated", e="annotated"),
        outcomes("4", a="annotated", d="unchanged", e="begun"),
        outcomes("5", d="begun", c="begun"),
    ]
    found = annotators(runs, Versions("m", "2024"))
    assert {key.name: run_id for key, run_id in found.items()} == {"a": "4", "b": "2", "c": "1", "d": "2", "e": "4"}

"""Records of runs come back in order, and refuse two inputs of one name."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import (
    RunRecord,
    SourceOutcome,
    begin_run,
    claimed_run,
    end_killed,
    finish_run,
    may_be_running,
    write_run,
)
from tests.warehouse.damages import ended_process
from tests.warehouse.homes import add_run, key


def runs_of(home: Home) -> list[RunRecord]:
    return read_history(home).runs


def test_run_comes_back_and_is_replaced_at_its_end(tmp_path: Path) -> None:
    home = Home(tmp_path)
    run = begin_run(versions={"model": "m"}, options={"device": "cpu", "inputs": ["a"]})
    write_run(home, run)
    assert runs_of(home) == [run]
    ended = finish_run(
        replace(
            run,
            stages={"low": {"spans": 3, "seconds": 0.5}},
            sources=(SourceOutcome(name="a", digest="0" * 16, outcome="annotated", seconds={"parse": 0.25}),),
        ),
        error="out of memory",
    )
    write_run(home, ended)
    assert runs_of(home) == [ended]
    assert ended.finished is not None
    assert datetime.fromisoformat(ended.finished) >= datetime.fromisoformat(run.started)
    assert ended.sources[0].key == key("a")


def test_runs_are_in_order(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ids = [add_run(home) for _ in range(3)]
    assert [run.run_id for run in runs_of(home)] == sorted(ids)
    assert runs_of(Home(tmp_path / "absent")) == []


def test_a_process_that_began_after_the_run_is_another(tmp_path: Path) -> None:
    began = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    run = replace(begin_run(), started=(began + timedelta(seconds=1)).isoformat())
    assert may_be_running(Home(tmp_path), run)
    assert not may_be_running(Home(tmp_path), replace(run, started=(began - timedelta(hours=1)).isoformat()))


def test_a_killed_run_is_recorded_by_the_next_one_on_whichever_host_it_was(tmp_path: Path) -> None:
    """Causes: the doctor failed until somebody repaired; a killed pod, whose host never returns, ran for 7 days."""
    home = Home(tmp_path)
    alive, pod, here = (begin_run(options={"n": n}) for n in range(3))
    pod = replace(pod, run_id="0-pod", host="pod-1")
    other = replace(alive, run_id="1-other", host="pod-2")
    for run in (pod, other, here := replace(here, run_id="2-here", process=ended_process())):
        write_run(home, run)
    home.run_claim(pod.run_id).touch()  # its process is gone, and so is its lock
    with claimed_run(home, other):
        assert [may_be_running(home, run) for run in (pod, other, here)] == [False, True, False]
        assert end_killed(home, runs_of(home)) == ["0-pod", "2-here"]
        assert end_killed(home, runs_of(home)) == []
    assert [run.error for run in runs_of(home)] == ["killed: it never ended", None, "killed: it never ended"]
    assert list(home.runs.glob(".claim-*")) == []


def test_two_inputs_of_one_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(WarehouseError, match=r"^2 inputs with different content are named a; give them different"):
        add_run(home, key("a", "1"), key("b", "1"), key("a", "2"))
    assert runs_of(home) == []
    add_run(home, key("a", "1"), key("a", "1"))  # the same file twice does no harm


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"sources": [], "what": 1}'])
def test_a_file_that_is_not_a_run(tmp_path: Path, content: str) -> None:
    home = Home(tmp_path)
    home.runs.mkdir()
    (home.runs / "x.json").write_text(content)
    with pytest.raises(WarehouseError, match=r"x\.json is not a valid run record \(e2emern doctor: damaged-run\)$"):
        runs_of(home)


def test_a_run_after_a_clock_that_was_ahead_is_the_newest_and_warns(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ahead = replace(begin_run(), started=(datetime.now(UTC) + timedelta(days=30, seconds=30)).isoformat(), host="other")
    write_run(home, finish_run(ahead))
    run = begin_run(runs_of(home))
    assert run.run_id > ahead.run_id
    assert run.warning
    assert re.fullmatch(
        rf"the clock of \S+ is 30 days, 0:00:\d\d behind run {ahead.run_id} of other; correct the clock that is wrong",
        run.warning,
    )
    write_run(home, finish_run(run))
    behind = begin_run([replace(run, started=(datetime.now(UTC) + timedelta(seconds=50)).isoformat())])
    assert behind.warning is None  # clocks of hosts differ by seconds

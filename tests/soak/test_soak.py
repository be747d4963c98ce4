"""A short year; the long one is `make soak`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.world import World
from tests.soak.kills import WrongError, _check_equal
from tests.soak.oracle import expected
from tests.soak.year import Article, Dump


def test_a_year_of_ten_nights(world: World, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak.kills", "--nights", "10", "--kills", "8", "--commands", "0"]
    command += ["--folder", str(tmp_path / "soak"), "--world", str(world.model.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, last + done.stderr
    found = re.match(r"10 nights, 13 dump files, (\d+) processes killed", last)
    assert found is not None, last
    assert int(found[1]) >= 8
    assert "18 times the tables equalled the oracle" in last
    assert last.endswith("seed 2026: nothing was wrong")


def test_the_oracle_by_hand() -> None:
    first = Dump(name="a", articles=(Article(1, (0, 4)), Article(2, (4,)), Article(0)))
    second = Dump(name="b", articles=(Article(1, (2,)), Article(3, (0,))), deleted=(2,))
    cut = Dump(name="c", articles=(Article(4, (4, 4)), Article(5, (4,))), deleted=(1,), readable=1)
    rows = expected({"c": cut, "b": second, "a": first}, model="m", mesh="next")
    assert [row[:3] for row in rows["documents"]] == [["1", "b", 0], ["3", "b", 1], ["4", "c", 0]]
    assert [row[3:9] for row in rows["mentions"]] == [
        [0, 7, "Aspirin", "Chemical", "D006", "Aspirin"],
        [15, 28, "renal failure", "Disease", "D004", "Renal Insufficiency"],
        [33, 41, "headache", "Disease", "D005", "Headache"],
        [24, 37, "breast cancer", "Disease", "D001", "Breast Carcinoma"],
    ]
    assert rows["failures"] == [["a", 2, "no PMID"], ["c", 1, "damage"]]
    assert rows["counts"] == [
        ["a", 3, 2, 1, 0, "complete"],
        ["b", 3, 2, 0, 1, "complete"],
        ["c", 2, 1, 1, 0, "damaged"],
    ]


def test_wrong_tables_are_detected() -> None:
    rows = expected({"a": Dump(name="a", articles=(Article(1, (0, 4)),))}, model="m", mesh="tiny")
    for table, found in rows.items():
        if found:
            with pytest.raises(WrongError, match=f"^{table}: found"):
                _check_equal(rows | {table: found[1:]}, rows)

"""The verdicts on the page follow the figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experiments.__main__ import PAGE, RESULTS
from experiments.page import write_page

ALL = {"slice": "all", "corpus": "mean", "entity_type": "mean"}
RESULT: dict[str, Any] = {
    "made_from": {
        "budget": {"name": "short", "documents": 2, "tuning": 1, "dev": 3, "concepts": 50, "epochs": 4},
        "encoder": {"name": "a/b"},
        "data": {
            "documents": {"c": {"train": 2, "tune": 1, "dev": 3}}, "concepts": 60, "names": 120, "mesh_version": "2024",
        },
    },
    "rows": [
        {"row": row, "protocol": "document", **ALL, "mean": mean, "least": mean - 0.01,
         "greatest": mean + 0.02, "seeds": 3}
        for row, mean in (("pipeline", 0.5), ("parallel", 0.53), ("progressive", 0.511), ("without-mid", 0.511))
    ],
    "gains": [
        {"better": "progressive", "worse": row, "protocol": "document", **ALL, "gain": gain, "low": low, "high": high}
        for row, gain, low, high in (
            ("pipeline", 0.011, 0.002, 0.021), ("parallel", -0.03, -0.05, -0.01), ("without-mid", 0.0, -0.1, 0.1),
        )
    ],
    "unseen": {"c": {"mention": 0.25, "word or mention": 0.5}},
    "attention": [
        {"row": "printed", "mesh_id": f"D{at}", "name": name, "words": ["no", "fever"], "weights": [0.4, 0.1]}
        for at, name in enumerate(("Fever", "Rash"))
    ],
    "runs": [
        *({"row": "progressive", "seed": seed, "commit": "abc", "figures": []} for seed in range(3)),
        {"row": "pipeline", "seed": 1, "commit": "def+", "figures": []},
    ],
}  # fmt: skip


def test_claims_are_judged_by_their_intervals() -> None:
    lines = write_page(RESULT).splitlines()
    assert "Of 3 claims that these rows test: 1 confirmed, 1 contradicted, 1 not shown either way." in lines
    judged = [line.split(" | ")[5:] for line in lines if line.startswith("| ") and "| `document` |" in line]
    assert judged == [
        ["**+1.1 (+0.2 to +2.1)**", "holds |"],
        ["**-3.0 (-5.0 to -1.0)**", "**does not hold**: `parallel` is better |"],
        ["+0.0 (-10.0 to +10.0)", "**not shown**: no difference beyond chance |"],
    ]


def test_a_table_has_mean_range_and_gain() -> None:
    lines = write_page(RESULT).splitlines()
    at = lines.index("## End to end: `document`, F1 of the distinct concepts of a document, from raw text")
    assert lines[at + 2 : at + 8] == [
        "| row | mean | gain |",
        "|---|---|---|",
        "| `pipeline` | 50.0 (49.0 to 52.0) | **+1.1 (+0.2 to +2.1)** |",
        "| `parallel` | 53.0 (52.0 to 55.0) | **-3.0 (-5.0 to -1.0)** |",
        "| `progressive` | 51.1 (50.1 to 53.1) |  |",
        "| `without-mid` | 51.1 (50.1 to 53.1) | +0.0 (-10.0 to +10.0) |",
    ]


def test_the_page_describes_the_runs() -> None:
    page = write_page(RESULT)
    assert "budget `short`, 3 seeds." in page
    assert "c 2 to train on, 1 to tune on, 3 of dev to score" in page
    assert "60 concepts, 120 names of MeSH 2024: those that the documents mention, and 50 others." in page
    assert "* **Code**: commit `abc` (3 runs), `def+` (1 runs)." in page
    assert "another is trained only to link (seed 1 alone)\n* `parallel`" in page
    assert "candidate loss\n" in page  # with all seeds
    assert "**Caution**" in page
    assert "Not run yet: `dictionary`, `low`, `tf-idf`, " in page
    assert "`printed`: the same bars for every entity." in page
    assert "| an unseen word or mention | 50.0 % |" in page


def test_rows_without_ours_are_not_compared() -> None:
    alone = {**RESULT, "rows": RESULT["rows"][:1], "gains": [], "attention": []}
    assert "Ours has not been run with another row." in write_page(alone)


def test_the_page_in_the_docs_matches_the_results() -> None:
    if not RESULTS.exists():
        pytest.skip("the table has not been run yet: python -m experiments --corpus corpus.parquet")
    assert PAGE.read_text(encoding="utf-8") == write_page(json.loads(RESULTS.read_text(encoding="utf-8")))

from __future__ import annotations

import pytest

from e2emern.model.progress import each_tenth


def test_every_tenth_is_logged_with_the_minutes_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0])
    monkeypatch.setattr("e2emern.model.progress.monotonic", lambda: next(now))
    lines: list[str] = []
    step = each_tenth(lines.append)
    for done in (4_000, 5_000, 5_001, 10_000):  # an earlier run did 4,000
        step("word pieces", done, 10_000)
    assert lines == [
        "4,000 of 10,000 word pieces",
        "5,000 of 10,000 word pieces, 5 min left",
        "10,000 of 10,000 word pieces",
    ]


def test_each_job_counts_from_its_own_start() -> None:
    lines: list[str] = []
    step = each_tenth(lines.append)
    for what, done in (("documents", 2), ("sentences", 1), ("sentences", 2), ("sentences", 1)):
        step(what, done, 2)
    assert [line.split(",")[0] for line in lines] == [
        "2 of 2 documents", "1 of 2 sentences", "2 of 2 sentences", "1 of 2 sentences",
    ]  # fmt: skip


def test_nothing_is_logged_for_an_unknown_total() -> None:
    lines: list[str] = []
    each_tenth(lines.append)("documents", 5, None)
    assert lines == []

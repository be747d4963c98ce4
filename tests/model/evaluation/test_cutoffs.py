"""Precision and recall at cut-offs of the link score, and the reliability of scores, on two documents."""

from __future__ import annotations

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Mention
from e2emern.model.evaluation.comparison import intervals
from e2emern.model.evaluation.cutoffs import CUTOFFS, Bin, ByScore, by_score
from e2emern.model.evaluation.metrics import Evaluation, cutoff_rows
from e2emern.model.evaluation.scores import Score, count


def _gold(document_id: str, *mentions: GoldMention) -> GoldDocument:
    return GoldDocument("c", "dev", document_id, ("Disease",), "x" * 50, (), (), mentions)


def _found(start: int, mesh_id: str | None, score: float | None, kind: str = "Disease") -> Mention:
    return Mention(start, start + 5, "xxxxx", kind, 0, 0.9, mesh_id=mesh_id, link_score=score)


GOLD = [
    _gold("1", GoldMention(0, 5, "Disease", ("D1",)), GoldMention(10, 15, "Disease", ("D2", "D3"), composite=True)),
    _gold("2", GoldMention(0, 5, "Disease", ("OLD",)), GoldMention(20, 25, "Disease", ())),
]
FOUND = [
    [_found(0, "D1", 0.9), _found(10, "D2", 0.55), _found(10, "D9", 0.52), _found(30, "D4", 0.05)],
    [_found(0, "NEW", 1.0), _found(20, "D5", 0.95), _found(10, None, None), _found(40, "C1", 0.99, "Chemical")],
]


def _canonical(mesh_id: str) -> str:
    return {"OLD": "NEW"}.get(mesh_id, mesh_id)


def _scored() -> ByScore:
    return by_score(GOLD, FOUND, canonical=_canonical)


def test_links_below_the_cutoff_count_as_missed() -> None:
    found = {(one.protocol, one.min_score): one.score for one in _scored().cutoffs}
    assert {least for _, least in found} == set(CUTOFFS)
    assert found["mention", 0.0] == Score(tp=3, fp=3, fn=0)
    assert found["mention", 0.1] == Score(tp=3, fp=2, fn=0)
    assert found["mention", 0.6] == Score(tp=2, fp=1, fn=1)
    assert found["mention", 0.9] == Score(tp=2, fp=1, fn=1)  # as stored, 0.9 is 0.8999...
    assert found["mention", 0.99] == Score(tp=1, fp=0, fn=2)
    assert found["document", 0.0] == Score(tp=3, fp=3, fn=1)
    assert found["document", 0.99] == Score(tp=1, fp=0, fn=3)


def test_reliability_counts_links_of_gold_spans_and_all_links() -> None:
    found = {(one.protocol, one.low): one for one in _scored().bins}
    assert {key: (one.links, one.right) for key, one in found.items()} == {
        ("link", 0.5): (2, 1),
        ("link", 0.9): (2, 2),
        ("mention", 0.0): (1, 0),
        ("mention", 0.5): (2, 1),
        ("mention", 0.9): (3, 2),  # gold without a concept has no link to find
    }
    last = found["link", 0.9]
    assert (last.high, round(last.mean_score, 6)) == (1.0, 0.95)
    assert isinstance(last, Bin)


def test_rows_of_the_metrics_file() -> None:
    evaluation = Evaluation("m", "v", {}, _scored())
    rows = [row for row in cutoff_rows(evaluation) if row["protocol"] == "mention" and row["min_score"] == 0.6]
    assert rows == [
        {"corpus": "c/dev", "protocol": "mention", "entity_type": "Disease", "min_score": 0.6}
        | {"precision": 0.6667, "recall": 0.6667, "tp": 2, "fp": 1, "fn": 1}
    ]
    assert cutoff_rows(Evaluation("m", "v", {})) == []


def test_an_interval_holds_its_figure_and_is_repeatable() -> None:
    counts = count(GOLD * 10, FOUND * 10, canonical=_canonical)
    first = intervals(counts, rounds=200)
    assert first == intervals(counts, rounds=200)
    for cell, (low, high) in first.items():
        tp, fp, fn = counts[cell].sum(0).tolist()
        assert 0 <= low <= 2 * tp / (2 * tp + fp + fn) <= high <= 1
        assert low < high or cell.protocol != "document"

"""Attention is drawn, and one that ignores the entity is recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.model.pretrained import save_model
from experiments.attention import Attention, attend, draw
from tests.model import tiny

CASES = (
    ("Aspirin caused renal failure and headache.", ("D006", "D004", "D999")),
    ("No patients with rash.", ("D999",)),
)


def test_bars_are_as_high_as_the_attention() -> None:
    words = ("no", "fever")
    drawn = draw(
        [Attention("ours", "D1", "Fever", words, (0.1, 0.8)), Attention("x", "D1", "Fever", words, (0.5, 0.25))]
    )
    assert drawn.splitlines() == [
        "             no fever",
        "ours, Fever  ▁▁ █████",
        "x, Fever     ██ ▄▄▄▄▄",
    ]


@pytest.mark.parametrize(("attention", "sees"), [("printed", False), ("released", False), ("bilinear", True)])
def test_every_word_has_its_share_of_a_models_attention(tmp_path: Path, attention: str, sees: bool) -> None:
    save_model(tiny.network(attention=attention), tiny.tokenizer(), tmp_path)
    found = attend("row", tmp_path, vocabulary=tiny.vocabulary(), cases=CASES, device="cpu")
    assert [(each.mesh_id, each.name) for each in found] == [("D006", "Aspirin"), ("D004", "Renal Insufficiency")]
    assert found[0].words == ("Aspirin", "caused", "renal", "failure", "and", "headache", ".")
    assert all(0 < sum(each.weights) < 1 for each in found)  # the rest goes to the special pieces
    assert (found[0].weights != found[1].weights) is sees

"""The process that annotates pasted text."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.flows.explorer import annotator as annotators
from e2emern.flows.explorer.annotator import Annotator, AnnotatorError
from e2emern.warehouse.layout import Home
from tests.flows.world import World


def test_annotating_and_attention(world: World, tmp_path: Path) -> None:
    annotator = Annotator(Home(tmp_path / "home"), model=world.model, mesh=world.mesh, device="cpu")
    try:
        found = annotator.annotate("Aspirin caused renal failure and headache.")["mentions"]
        assert [(one["text"], one["mesh_id"]) for one in found] == [
            ("Aspirin", "D006"),
            ("renal failure", "D004"),
            ("headache", "D005"),
        ]
        best = {one["text"]: one["candidates"][0]["mesh_id"] for one in annotator.annotate("Aspirin.")["mentions"]}
        assert best == {"Aspirin": "D006"}
        passages = [{"section": "title", "offset": 5, "text": "Aspirin caused renal failure."}]
        (aspirin, failure) = annotator.candidates(passages)["mentions"]
        assert (aspirin["start"], failure["start"], failure["candidates"][0]["mesh_id"]) == (5, 20, "D004")
        assert annotator.candidates([])["mentions"] == []
        words = annotator.attention("Aspirin caused headache.", "D006")["words"]
        assert [word["text"] for word in words] == ["Aspirin", "caused", "headache", "."]
        assert 0 < sum(word["weight"] for word in words) <= 1.01  # in bfloat16
        with pytest.raises(AnnotatorError, match="D999 is not a concept of MeSH tiny"):
            annotator.attention("Aspirin.", "D999")
        with pytest.raises(AnnotatorError, match="at most 20,000 are annotated"):
            annotator.annotate("x" * 20_001)
        child = annotator._child
        assert child is not None
        child.kill()
        child.wait()
        annotator._idle_s = 0
        assert annotator.annotate("Rash.")["versions"]["mesh"] == "tiny"  # started again
        assert annotator._idle is not None
        annotator._idle.join(60)
        assert not annotator.running  # no requests for a while
    finally:
        annotator.close()


def test_a_model_that_does_not_exist(world: World, tmp_path: Path) -> None:
    annotator = Annotator(Home(tmp_path / "home"), model=tmp_path / "none", mesh=world.mesh)
    with pytest.raises(AnnotatorError, match="no such model folder"):
        annotator.annotate("Aspirin.")
    annotator.close()


def test_a_slow_process_is_killed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotators, "STARTING_S", 0.2)
    annotator = Annotator(Home(tmp_path / "home"), model=world.model, mesh=world.mesh)
    with pytest.raises(AnnotatorError, match=r"took longer than 0\.2 s"):
        annotator.annotate("Aspirin.")
    assert not annotator.running

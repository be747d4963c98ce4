"""The component for spaCy, in a blank pipeline."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from e2emern.tasks.errors import InputError
from tests.conftest import ROOT
from tests.flows.world import World

spacy = pytest.importorskip("spacy", reason="needs the extra `spacy`, which requirements.lock leaves out")


def test_the_entry_point_names_the_factory() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"] == {"spacy_factories": {"e2emern": "e2emern.spacy_component:make_component"}}


def test_mentions_become_entities_with_ids(world: World, tmp_path: Path) -> None:
    import e2emern.spacy_component  # noqa: F401  # an installation has the entry point

    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "STUDY", "pattern": "renal"}])
    nlp.add_pipe("e2emern", config={"model": str(world.model), "mesh": str(world.mesh), "home": None, "device": "cpu"})
    text = "Aspirin caused renal failure and headache."
    doc = nlp(text)
    assert [(span.text, span.label_, span.kb_id_) for span in doc.spans["e2emern"]] == [
        ("Aspirin", "Chemical", "D006"),
        ("renal failure", "Disease", "D004"),
        ("headache", "Disease", "D005"),
    ]
    assert [(ent.text, ent.label_, ent.kb_id_) for ent in doc.ents] == [
        ("Aspirin", "Chemical", "D006"),
        ("renal", "STUDY", ""),
        ("headache", "Disease", "D005"),
    ]
    (mention,) = doc.ents[2]._.e2emern
    assert (mention["start"], mention["end"], mention["mesh_id"]) == (33, 41, "D005")
    assert mention["candidates"][0]["mesh_id"] == "D005"
    assert doc.ents[1]._.e2emern == ()
    again = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again.ents[2]._.e2emern == [mention]
    assert [len(each.ents) for each in nlp.pipe([text, "", "No patients with rash."], batch_size=2)] == [3, 0, 0]


def test_a_text_that_cannot_be_read_goes_to_the_error_handler(world: World) -> None:
    from e2emern.pipeline import load
    from e2emern.spacy_component import Component

    pipeline = load(model=world.model, mesh=world.mesh, device="cpu")

    def broken(*given: object) -> object:
        raise ValueError("no such word")

    pipeline.cascade.annotate_with_evidence = broken  # type: ignore[method-assign, assignment]
    component = Component("e2emern", pipeline)
    doc = spacy.blank("en").make_doc("Aspirin caused headache.")
    with pytest.raises(InputError, match="model: ValueError: no such word"):
        component(doc)
    failed: list[str] = []
    component.set_error_handler(lambda name, proc, docs, error: failed.append(f"{name}: {error}"))
    assert list(component.pipe([doc])) == []
    assert failed == ["e2emern: model: ValueError: no such word"]

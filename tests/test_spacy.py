"""The component for spaCy, in a blank pipeline, and the export for spaCy."""

from __future__ import annotations

import gzip
import tomllib
from pathlib import Path

import pytest

from e2emern.model.document import Document, Mention, Passage
from e2emern.tasks.errors import InputError
from e2emern.tasks.export import Exported, export
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


def test_an_export_is_read_back(tmp_path: Path) -> None:
    passages = (Passage("title", 0, "Hepatitis-B and 𝛽2."), Passage("abstract", 30, "No gouty\ttophus; breast cancer."))
    document = Document("PMC7", 0, passages, pmid=7)
    places = (
        ("Hepatitis", "D006505", 0.2), ("Hepatitis-B", "D006509", 0.9), ("gout", "D006073", 0.8),
        ("breast cancer", "D001943", 0.3), ("breast cancer", "D009369", 0.4), ("tophus", None, None),
    )  # fmt: skip
    mentions = [
        Mention(
            start=(start := document.text.index(words)), end=start + len(words), text=words, entity_type="Disease",
            mesh_id=mesh_id, mesh_name=mesh_id and f"Name {mesh_id}", sentence=0, ner_score=0.5, mid_score=None,
            high_score=None, link_score=score, how=None,
        )
        for words, mesh_id, score in places
    ]  # fmt: skip
    assert export([(document, mentions), (Document("8", 1, ()), [])], tmp_path / "out.gz", form="docbin") == Exported(
        2, 6
    )
    nlp = spacy.blank("en")
    read = spacy.tokens.DocBin().from_bytes(gzip.decompress((tmp_path / "out.gz").read_bytes()))
    doc, empty = read.get_docs(nlp.vocab)
    assert (doc.text, doc.user_data["document_id"], doc.user_data["pmid"]) == (document.text, "PMC7", 7)
    assert [(ent.text, ent.label_, ent.kb_id_) for ent in doc.ents] == [
        ("Hepatitis-B", "Disease", "D006509"),
        ("gouty", "Disease", "D006073"),  # a whole token
        ("tophus", "Disease", ""),
        ("breast cancer", "Disease", "D009369"),
    ]
    found = [one for span in doc.spans["e2emern"] for one in span._.e2emern]
    assert [doc.text[one["start"] : one["end"]] for one in found] == [one["text"] for one in found]
    assert sorted((one["text"], one["mesh_id"], one["scores"]["link"]) for one in found) == sorted(places)
    assert (empty.text, empty.ents, empty.user_data["pmid"]) == ("", (), None)


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

"""A budget cuts documents and concepts, and keeps apart what is trained on, tuned on and scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.model.corpus import read_corpus, write_corpus
from experiments.data import Budget, Data, prepare, unseen_shares
from tests.model import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_corpus([*tiny.gold(), *tiny.gold(split="dev")], made / "corpus.parquet")
    tiny.save_entities(made)
    return made


def cut(folder: Path, output: Path, **changes: int | None) -> Data:
    budget = Budget(**{"documents": 2, "tuning": 1, "dev": 1, "concepts": 1, "epochs": 1, **changes})  # type: ignore[arg-type]
    return prepare(
        budget,
        corpus=folder / "corpus.parquet",
        mesh=folder / "entities/tiny.parquet",
        train=["tiny/train"],
        dev=["tiny/dev"],
        always=["D003"],
        folder=output,
    )


def test_no_document_is_trained_on_and_tuned_on(folder: Path, tmp_path: Path) -> None:
    data = cut(folder, tmp_path)
    names = [[document.document_id for document in part] for part in (data.train, data.tune, data.dev)]
    assert [len(part) for part in names] == [2, 1, 1]
    assert not set(names[0]) & set(names[1])
    assert [(d.split, d.document_id) for d in read_corpus(data.corpus)] == [
        *(("train", name) for name in names[0]),
        *(("tune", name) for name in names[1]),
    ]
    whole = cut(folder, tmp_path, documents=None, dev=None, concepts=None)
    assert [len(part) for part in (whole.train, whole.tune, whole.dev)] == [4, 1, 5]
    assert len(whole.vocabulary.concepts) == len(tiny.CONCEPTS)


def test_the_vocabulary_has_named_requested_and_random_concepts(folder: Path, tmp_path: Path) -> None:
    data = cut(folder, tmp_path)
    documents = (*data.train, *data.tune, *data.dev)
    named = {"D003", *(concept for d in documents for m in d.mentions for concept in m.concepts)}
    found = {concept.mesh_id for concept in data.vocabulary.concepts}
    assert named <= found
    assert len(found - named) == 1


def test_the_same_budget_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    first, second = cut(folder, tmp_path / "a"), cut(folder, tmp_path / "b")
    assert first.corpus.read_bytes() == second.corpus.read_bytes()
    assert first.mesh.read_bytes() == second.mesh.read_bytes()
    assert first.described() == second.described()


def test_too_few_documents_are_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tiny/train has 5 documents, expected more than 5"):
        cut(folder, tmp_path, tuning=5)


def test_sentences_with_something_new_are_counted(folder: Path, tmp_path: Path) -> None:
    documents = tiny.gold()
    data = cut(folder, tmp_path)
    seen = replace(data, train=(documents[2],), dev=(documents[2], documents[4], documents[3], documents[0]))
    # aspirin, renal failure and headache are known; "No patients with rash." has new words, the others new mentions.
    assert unseen_shares(seen) == {"tiny": {"mention": 0.5, "word or mention": 0.75}}

"""Strings that training documents use for concepts, and names that they leave unmarked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Sentence
from e2emern.model.inference.candidates import Candidates, Found
from e2emern.model.inference.features import FEATURES, NONE_FEATURES, features_of, none_features_of
from e2emern.model.inference.grouping import Group, Span, group_spans
from e2emern.model.inference.lookup import LookedUp, LookUps
from e2emern.model.inference.training_strings import TrainingStrings
from tests.model import tiny


def document(text: str, *mentions: tuple[str, tuple[str, ...]], short: dict[str, str] | None = None) -> GoldDocument:
    """Return a document of one sentence, with diseases."""
    gold = tuple(
        GoldMention(text.index(words), text.index(words) + len(words), "Disease", concepts, len(concepts) > 1)
        for words, concepts in mentions
    )
    pairs = tuple((short or {}).items())
    return GoldDocument("c", "train", "1", ("Disease",), text, (Sentence(0, len(text), text),), pairs, gold)


STRINGS = TrainingStrings.of(
    [
        *[document("Breast tumours of patients.", ("Breast tumours", ("D001",)))] * 11,
        document("A breast tumour.", ("breast tumour", ("114480",))),  # an alias of D001
        document("A breast tumour.", ("breast tumour", ("D002",))),  # 1 of 13: too few
        document("KF is kidney failure", ("KF", ("D004",)), short={"KF": "kidney failure"}),
        document("breast or colon tumour", ("breast or colon tumour", ("D001", "D002"))),
        document("rash or unknown", ("rash", ("D999",))),  # not in the vocabulary
        document("Headache, and aspirin", ("Headache", ())),
        document("no headache"),
        document("no headache; no aspirin"),
    ],
    vocabulary=tiny.vocabulary(),
)


def test_counts_of_training_documents() -> None:
    assert STRINGS.concepts("BREAST TUMOUR", entity_type="Disease") == {"D001": 12}
    assert STRINGS.concepts("kidney failure", entity_type="Disease") == {"D004": 1}
    assert [STRINGS.concepts(words, entity_type="Disease") for words in ("KF", "rash", "breast or colon tumour")] == [
        {}
    ] * 3
    assert STRINGS.concepts("breast tumour", entity_type="Chemical") == {}
    assert STRINGS.marked("headaches", entity_type="Disease") == pytest.approx(math.log(1.5 / 2.5))
    assert STRINGS.marked("kidney failure", entity_type="Disease") == pytest.approx(math.log(0.5 / 1.5))
    assert STRINGS.marked("breast tumours", entity_type="Disease") == pytest.approx(math.log(13.5 / 0.5))
    assert STRINGS.marked("aspirin", entity_type="Chemical") == 0.0  # the documents do not annotate chemicals
    assert TrainingStrings.from_dict(STRINGS.to_dict()).to_dict() == STRINGS.to_dict()


def test_training_strings_are_candidates_and_evidence() -> None:
    spans = [Span(0, 0, 14, "breast tumours", "Disease", 0.9, 0, 0, 2)]
    (group,) = group_spans(spans, abbreviations=[{}], look_ups=LookUps(tiny.vocabulary(), STRINGS))
    place = tiny.vocabulary().position["D001"]
    found = group.found
    assert (found.match, found.trained, found.marked) == ("none", {place: 12}, pytest.approx(math.log(27)))
    assert place in Found(group, [], [], []).merged(2)
    zeros = np.zeros(2, np.float32)
    concepts = np.array([place, tiny.vocabulary().position["D002"]])
    candidates = Candidates(np.array([0, 2]), concepts, np.zeros(2, np.int64), zeros, zeros)
    table = features_of([group], candidates, mid=zeros, high=zeros, vocabulary=tiny.vocabulary(), prior={})
    assert table[:, FEATURES.index("trained")].tolist() == [1, 0]
    assert table[:, FEATURES.index("often_trained")] == pytest.approx([math.log(13), 0])


@pytest.mark.parametrize(
    ("marked", "ner", "values"),
    [(2.0, 0.5, (1, 0, 0, 2, 0)), (-1.5, 0.04, (1, -3.178, 1, 0, 1.5)), (0.0, 0.0, (1, -9.21, 1, 0, 0))],
)
def test_evidence_for_none_of_them(marked: float, ner: float, values: tuple[float, ...]) -> None:
    group = Group(LookedUp("words", "Disease", marked=marked), [0])
    assert NONE_FEATURES == ("bias", "ner", "unlikely", "marked", "unmarked")
    assert none_features_of([group], ner=np.array([ner])) == pytest.approx(np.array([values]), abs=0.01)

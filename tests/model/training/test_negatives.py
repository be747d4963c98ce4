from __future__ import annotations

import numpy as np
import pytest

from model.training.negatives import nearest_wrong
from tests.model import tiny


@pytest.fixture(scope="module")
def nearest() -> dict[str, list[str]]:
    vocabulary = tiny.vocabulary()
    found = nearest_wrong(
        tiny.network(),
        range(len(vocabulary.concepts)),
        vocabulary=vocabulary,
        tokenizer=tiny.tokenizer(),
        random=np.random.default_rng(0),
    )
    ids = [concept.mesh_id for concept in vocabulary.concepts]
    return {ids[at]: [ids[other] for other in others] for at, others in found.items()}


def test_the_other_concepts_of_the_type_are_ranked(nearest: dict[str, list[str]]) -> None:
    diseases = {"D001", "D002", "D003", "D004", "D005"}
    assert {at: set(others) for at, others in nearest.items()} == {
        **{each: diseases - {each} for each in diseases},
        "D006": {"C007"},
        "C007": {"D006"},
    }


def test_what_is_named_alike_comes_first(nearest: dict[str, list[str]]) -> None:
    assert nearest["D001"][0] == "D002"  # breast cancer, colon cancer
    assert nearest["D002"][0] == "D001"

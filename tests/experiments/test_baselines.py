"""Baselines without a network find names by their letters."""

from __future__ import annotations

import pytest

from experiments.baselines import TfIdf, dictionary_of
from tests.model import tiny


def test_tf_idf_finds_the_name_with_the_most_similar_letters() -> None:
    nearest = TfIdf(tiny.vocabulary()).nearest
    assert nearest("kidney failures", "Disease")[0] == "D004"
    assert nearest("Kidney failure", "Disease") == ("D004", pytest.approx(1.0))
    assert nearest("kidney failure", "Gene") == (None, 0.0)
    assert nearest("kkk", "Chemical") == (None, 0.0)


def test_a_dictionary_finds_the_longest_names_of_all_concepts() -> None:
    names = dictionary_of(tiny.vocabulary())
    document = tiny.gold()[2]
    assert [(m.text, m.mesh_id) for m in names.annotate(document)] == [
        ("Aspirin", "D006"),
        ("renal failure", "D004"),
        ("headache", "D005"),
    ]

"""Names of the vocabulary as mentions of text that teachers have tagged."""

from __future__ import annotations

import numpy as np
import pytest

from e2emern.model.document import Concept, Sentence
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.tokenization import make_windows
from e2emern.model.training.distillation import SILVER_SCHEMA, silver_table
from e2emern.model.training.name_labels import NamedSpan, find_names, is_mention, label_names, with_names
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny

VOCABULARY = Vocabulary(
    [
        Concept("D006261", "Disease", ("Headache",), "descriptor", ("C10.597", "C23.888")),
        Concept("D015430", "Disease", ("Weight Gain",), "descriptor", ("C23.888.144.243",)),
        Concept("D009362", "Disease", ("Neoplasm Metastasis", "metastasis"), "descriptor", ("C04.697.650",)),
        Concept("D065626", "Disease", ("Fatty Liver", "NAFLD"), "descriptor", ("C06.552",)),
        Concept("608852", "Disease", ("pulmonary function",), "omim"),
        Concept("D000069347", "Chemical", ("erlotinib",), "descriptor", ("D03.633",)),
        Concept("D013193", "Chemical", ("stainless steel",), "descriptor", ("D01.552",)),
    ],
    version="1",
)


@pytest.mark.parametrize(
    ("name", "kind", "symbol", "least", "most", "expected"),
    [
        ("headache", "Disease", False, 0.0, 0.0, True),  # always, of an organ system
        ("nafld", "Disease", True, 0.0, 0.1, False),  # a symbol only if the teachers agree
        ("nafld", "Disease", True, 0.3, 0.3, True),
        ("weight gain", "Disease", False, 0.0, 0.19, False),
        ("weight gain", "Disease", False, 0.0, 0.21, True),
        ("metastasis", "Disease", False, 1.0, 1.0, False),
        ("pulmonary function", "Disease", False, 0.0, 0.0, False),
        ("erlotinib", "Chemical", False, 0.03, 0.03, True),
        ("erlotinib", "Chemical", False, 0.01, 1.0, False),
        ("stainless steel", "Chemical", False, 0.03, 1.0, False),
        ("stainless steel", "Chemical", False, 0.2, 1.0, True),
    ],
)
def test_what_is_a_mention(name: str, kind: str, symbol: bool, least: float, most: float, expected: bool) -> None:
    named = NamedSpan(0, 1, kind, name, symbol)
    assert is_mention(named, least=least, most=most, vocabulary=VOCABULARY) is expected


def test_accepted_names_become_certain_and_other_words_keep_their_probabilities() -> None:
    tags = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]
    texts = ["severe headache after erlotinib", "weight gain"]
    sentences = [[Sentence(0, len(text), text)] for text in texts]
    windows = make_windows(sentences, tokenizer=tiny.tokenizer(), max_pieces=64)
    tagged = [np.full((len(window.first), 5), 0.2, np.float32) for window in windows]
    tagged[1][:] = [0.9, 0.1, 0, 0, 0]
    listed = ListedNames(VOCABULARY)
    names = [find_names(window, text, listed) for window, text in zip(windows, texts, strict=True)]
    assert [[named.name for named in row] for row in names] == [["headache", "erlotinib"], ["weight gain"]]
    table, labelled = label_names(with_names(silver_table(windows, tagged), names), vocabulary=VOCABULARY, tags=tags)
    assert table.schema == SILVER_SCHEMA
    assert labelled == 2
    first, second = (np.reshape(row, (-1, 5)) for row in table.column("probabilities").to_pylist())
    assert first[1].tolist() == [0, 1, 0, 0, 0]
    assert first[3].tolist() == [0, 0, 0, 1, 0]
    np.testing.assert_allclose(first[[0, 2]], 0.2, atol=1e-3)
    np.testing.assert_allclose(second, np.tile([0.9, 0.1, 0, 0, 0], (2, 1)), atol=1e-3)

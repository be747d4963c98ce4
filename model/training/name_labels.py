"""Label names of the vocabulary as mentions in text that teachers have tagged.

Teachers miss names that their corpora lack, such as "COVID-19", and a student would learn to miss them too. So every
occurrence of a listed name (`inference.listed_names`) becomes a mention, depending on the kind of name:

* diseases of an organ system, infections and mental disorders (trees C01 to C20 and F03) always are, except for symbols
  in capitals;
* any other name of a disease is one if, on average over its occurrences, the teachers give its most probable word a
high enough probability;
* a name of a chemical is one if they give its least probable word one; the threshold depends on its trees.

The words around a name keep the teachers' probabilities, and so do names that are not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from e2emern.model.inference.listed_names import ListedNames, trees_of
from e2emern.model.tagging import tag_mention
from e2emern.model.tokenization import Window
from e2emern.model.training.distillation import SILVER_SCHEMA
from e2emern.model.vocabulary import Vocabulary, normalise

DISEASES = (*(f"C{number:02}" for number in range(1, 21)), "F03")
"""Trees whose names are always mentions; others hold animals' diseases, symptoms, injuries and effects of chemicals."""
NEVER = ("C04.697", "C23.550.727")  # neoplastic processes such as metastasis, which the corpora do not annotate
ORGANIC = ("D02", "D03", "D04")  # organic, heterocyclic and polycyclic compounds
LEAST_DISEASE = 0.2
LEAST_ORGANIC, LEAST_CHEMICAL = 0.02, 0.1

_NAMES = pa.list_(
    pa.struct(
        [
            ("begin", pa.int32()),  # first word of the name
            ("end", pa.int32()),  # the word after its last
            ("entity_type", pa.string()),
            ("name", pa.string()),  # normalised
            ("symbol", pa.bool_()),  # one word in capitals without a digit
        ]
    )
)
NAMED_SCHEMA = SILVER_SCHEMA.append(pa.field("names", _NAMES))


@dataclass(frozen=True, slots=True)
class NamedSpan:
    """A listed name in a window: its words (half-open), its type, and how it is written."""

    begin: int
    end: int
    entity_type: str
    name: str
    symbol: bool


def find_names(window: Window, sentence: str, listed: ListedNames) -> list[NamedSpan]:
    """Return the listed names among the words of a window of a sentence."""
    found = []
    for start, end, kind in listed.find(sentence):
        text = sentence[start:end]
        if (words := window.words_of(window.sentence_start + start, window.sentence_start + end)) is not None:
            symbol = text.isupper() and text.isalpha()
            found.append(NamedSpan(*words, kind, normalise(text), symbol))
    return found


def with_names(table: pa.Table, names: Iterable[Sequence[NamedSpan]]) -> pa.Table:
    """Return rows of `SILVER_SCHEMA` as rows of `NAMED_SCHEMA`."""
    column = pa.array([[asdict(each) for each in row] for row in names], _NAMES)
    return table.append_column(NAMED_SCHEMA.field("names"), column)


def label_names(table: pa.Table, *, vocabulary: Vocabulary, tags: list[str]) -> tuple[pa.Table, int]:
    """Turn rows of `NAMED_SCHEMA` into rows of `SILVER_SCHEMA`, with accepted names as mentions. Count these."""
    probabilities = [
        np.array(row, np.float16).reshape(-1, len(tags)) for row in table.column("probabilities").to_pylist()
    ]
    names = [[NamedSpan(**each) for each in row or ()] for row in table.column("names").to_pylist()]
    beliefs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for of_words, row in zip(probabilities, names, strict=True):
        for each in row:
            of_type = [at for at, tag in enumerate(tags) if tag.endswith(f"-{each.entity_type}")]
            belief = of_words[each.begin : each.end][:, of_type].astype(np.float32).sum(1)
            beliefs.setdefault((each.name, each.entity_type), []).append((float(belief.min()), float(belief.max())))
    means = {key: np.mean(values, axis=0) for key, values in beliefs.items()}
    labelled = 0
    for of_words, row in zip(probabilities, names, strict=True):
        for each in row:
            least, most = means[each.name, each.entity_type]
            if is_mention(each, least=float(least), most=float(most), vocabulary=vocabulary):
                of_words[each.begin : each.end] = 0
                places = tag_mention(each.end - each.begin, each.entity_type, tags=tags)
                of_words[np.arange(each.begin, each.end), places] = 1
                labelled += 1
    column = pa.array([row.ravel() for row in probabilities], SILVER_SCHEMA.field("probabilities").type)
    at = table.schema.get_field_index("probabilities")
    return table.set_column(at, SILVER_SCHEMA.field("probabilities"), column).select(SILVER_SCHEMA.names), labelled


def is_mention(named: NamedSpan, *, least: float, most: float, vocabulary: Vocabulary) -> bool:
    """Return whether the occurrences of a name are mentions.

    Args:
        least, most: mean over the occurrences of the teachers' probability of the type, for the least and the most
            probable word.
    """
    owners = [vocabulary.concepts[at] for at in vocabulary.concepts_named(named.name, entity_type=named.entity_type)]
    trees = trees_of(owners, vocabulary)
    if named.entity_type == "Chemical":
        organic = not trees or any(tree.startswith(ORGANIC) for tree in trees)
        return least >= (LEAST_ORGANIC if organic else LEAST_CHEMICAL)
    if trees and all(tree.startswith(NEVER) for tree in trees):
        return False
    descriptor = any(owner.record_type == "descriptor" for owner in owners)
    always = any(tree.startswith(DISEASES) and not tree.startswith(NEVER) for tree in trees)
    return (always and descriptor and not named.symbol) or most >= LEAST_DISEASE

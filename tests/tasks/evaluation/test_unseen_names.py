"""Recall of names that no training corpus has."""

from __future__ import annotations

from e2emern.model.document import Concept, Document, Mention, Passage
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.evaluation.unseen_names import recall_of, unseen_passages

VOCABULARY = Vocabulary(
    [
        Concept("D000086382", "Disease", ("COVID-19",), "descriptor", ("C01.748",)),
        Concept("D011085", "Disease", ("Polycystic Ovary Syndrome",), "descriptor", ("C13.371",)),
        Concept("184700", "Disease", ("Polycystic ovary syndrome", "PCOS"), "omim"),
        Concept("D000069347", "Chemical", ("Erlotinib Hydrochloride", "erlotinib"), "descriptor", ("D03.633",)),
    ],
    version="1",
)


def _document(number: int, text: str) -> Document:
    return Document(str(number), number, (Passage("abstract", 0, text),))


def test_names_of_concepts_that_the_corpus_lacks_are_expected() -> None:
    chosen = unseen_passages(
        "text",
        [_document(1, "Erlotinib in COVID-19."), _document(2, "Nothing here."), _document(3, "Only erlotinib.")],
        vocabulary=VOCABULARY,
        named=frozenset({"D000069347"}),
    )
    assert [(one.document_id, [one.text[m.start : m.end] for m in one.mentions]) for one in chosen] == [
        ("1", ["COVID-19"])
    ]


def test_an_abbreviation_counts_only_with_the_meaning_that_the_document_gives_it() -> None:
    here, elsewhere = (
        _document(1, "Polycystic ovary syndrome (PCOS) is common. PCOS is treated."),
        _document(2, "Primary care outcome score (PCOS) was low."),
    )
    chosen = unseen_passages("text", [here, elsewhere], vocabulary=VOCABULARY, named=frozenset())
    assert [one.document_id for one in chosen] == ["1"]
    assert {mention.concepts for mention in chosen[0].mentions} == {("D011085", "184700")}


def test_a_concept_with_the_same_preferred_name_is_correct() -> None:
    chosen = unseen_passages("text", [_document(1, "PCOS and COVID-19.")], vocabulary=VOCABULARY, named=frozenset())
    found = [Mention(0, 4, "PCOS", "Disease", 0, 0.9, "D011085"), Mention(9, 17, "COVID-19", "Disease", 0, 0.9)]
    counts, missed = recall_of(chosen, [found])
    assert dict(counts) == {"Disease names": 2, "Disease found": 2, "Disease linked": 1}
    assert missed == ["covid-19 1 of 1"]

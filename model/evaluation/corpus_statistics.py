"""Statistics of a gold corpus: the items of Table 1 of the paper, and some that explain why a corpus is hard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from e2emern.model.corpus import GoldDocument
from e2emern.model.vocabulary import normalise

WHOLE = "all"


@dataclass(frozen=True, slots=True)
class Statistics:
    """The counts of one split, or of all splits of a corpus.

    Attributes:
        split: its name; `all` for all splits together.
        sentences: as the sentence splitter cuts them; the paper's "samples" of train, dev and test set.
        words: runs of characters between white space.
        mentions: annotations of the types counted; the paper's "# entities".
        distinct_mentions: different words of mentions, with case, accents and punctuation folded.
        concepts: different ids, each part of a composite id counted by itself; the paper's "# NEN labels".
        id_strings: different ids as the corpus writes them, a composite id counted once.
        labels: tags of a BIO scheme; the paper's "# NER labels".
        without_concept: mentions that have no id (-1).
        composite: mentions of several concepts.
        cut: mentions that are not entirely inside one sentence.
    """

    corpus: str
    split: str
    documents: int
    sentences: int
    words: int
    mentions: int
    distinct_mentions: int
    concepts: int
    id_strings: int
    labels: int
    without_concept: int
    composite: int
    cut: int


def statistics(
    documents: Sequence[GoldDocument], *, canonical: Callable[[str], str] = lambda identifier: identifier
) -> list[Statistics]:
    """Count every split of every corpus, and all splits of a corpus together if it has several.

    Args:
        canonical: an id as the vocabulary writes it, so that alternative ids of one concept count once.
    """
    rows = []
    for corpus in dict.fromkeys(document.corpus for document in documents):
        mine = [document for document in documents if document.corpus == corpus]
        splits = list(dict.fromkeys(document.split for document in mine))
        rows += [_count(corpus, split, [d for d in mine if d.split == split], canonical) for split in splits]
        if len(splits) > 1:
            rows.append(_count(corpus, WHOLE, mine, canonical))
    return rows


def _count(corpus: str, split: str, documents: Sequence[GoldDocument], canonical: Callable[[str], str]) -> Statistics:
    mentions = [(document, mention) for document in documents for mention in document.mentions]
    types = {kind for document in documents for kind in document.annotated_types}
    return Statistics(
        corpus=corpus,
        split=split,
        documents=len(documents),
        sentences=sum(len(document.sentences) for document in documents),
        words=sum(len(document.text.split()) for document in documents),
        mentions=len(mentions),
        distinct_mentions=len({(m.entity_type, normalise(d.text[m.start : m.end])) for d, m in mentions}),
        concepts=len({canonical(concept) for _, m in mentions for concept in m.concepts}),
        id_strings=len({m.concepts for _, m in mentions if m.concepts}),
        labels=1 + 2 * len(types),
        without_concept=sum(not m.concepts for _, m in mentions),
        composite=sum(m.composite for _, m in mentions),
        cut=sum(not any(s.start <= m.start and m.end <= s.end for s in d.sentences) for d, m in mentions),
    )

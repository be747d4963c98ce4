"""Measure the recall of names that no training corpus has: exact, unambiguous names of other concepts, in plain text.

    python -m e2emern.tasks.evaluation.unseen_names MODEL --text FILE --documents FILE --corpus FILE --mesh FILE

Old corpora do not show which mentions a model misses today: newer names, and names too rare to be annotated. Passages
are sampled from text without gold. A listed name (`model.inference.listed_names`) of a concept that the corpus never
names counts as a mention of it, although some are not. An abbreviation that the document itself explains otherwise
does not count. So the recall is a lower bound. Precision cannot be measured here; see the dev splits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from e2emern.model.cli import fails_in_one_line, log
from e2emern.model.corpus import GoldDocument, GoldMention, read_corpus
from e2emern.model.document import Document, Mention, Passage, Text
from e2emern.model.evaluation.evaluate import annotate_gold
from e2emern.model.inference.cascade import load_cascade
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.progress import each_tenth
from e2emern.model.training.pretrain import read_lines
from e2emern.model.vocabulary import Vocabulary, normalise
from e2emern.tasks.documents import text_of
from e2emern.tasks.parsers import parse

PASSAGES = 300  # per source
OF_ONE_CONCEPT = 3  # passages per source and concept
MISSED = 20  # number of names to print, the most frequently missed


def unseen_passages(
    source: str, documents: Iterable[Document], *, vocabulary: Vocabulary, named: frozenset[str], most: int = PASSAGES
) -> list[GoldDocument]:
    """Return the first documents with a listed name of a concept that is not among `named`; these names are their gold.

    A document is chosen for its rarest concept, at most `OF_ONE_CONCEPT` for each.
    """
    listed, chosen, reasons = ListedNames(vocabulary), [], Counter[str]()
    for document in documents:
        text = text_of(document)
        mentions = [
            GoldMention(sentence.start + start, sentence.start + end, kind, concepts)
            for sentence in text.sentences
            for start, end, kind in listed.find(sentence.text)
            if named.isdisjoint(concepts := _concepts(sentence.text[start:end], kind, text, vocabulary)) and concepts
        ]
        if not mentions:
            continue
        reason = min((mention.concepts[0] for mention in mentions), key=lambda concept: (reasons[concept], concept))
        if reasons[reason] < OF_ONE_CONCEPT:
            reasons[reason] += 1
            pairs = tuple(text.abbreviations.items())
            place = (source, "unseen", document.document_id, tuple(vocabulary.types), text.text)
            chosen.append(GoldDocument(*place, tuple(text.sentences), pairs, tuple(mentions)))
        if len(chosen) == most:
            break
    return chosen


def _concepts(words: str, kind: str, text: Text, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the concept with the name, descriptors first, and the concepts with the same preferred name.

    Return none if the document explains the words as an abbreviation of something else.
    """
    owners = vocabulary.concepts_named(normalise(words), entity_type=kind)
    meant = text.abbreviations.get(words)
    if meant is not None and not set(owners) & set(vocabulary.look_up(meant, entity_type=kind)[1]):
        return ()
    preferred = {normalise(vocabulary.concepts[at].name) for at in owners}
    same = {at for name in preferred for at in vocabulary.concepts_named(name, entity_type=kind)
            if normalise(vocabulary.concepts[at].name) in preferred}  # fmt: skip
    found = {vocabulary.concepts[at].mesh_id for at in {*owners, *same}}
    return tuple(sorted(found, key=lambda mesh_id: (mesh_id[0] != "D", mesh_id)))


def concepts_of(documents: Iterable[GoldDocument], vocabulary: Vocabulary) -> frozenset[str]:
    """Return the concepts that documents name."""
    return frozenset(
        vocabulary.canonical(concept)
        for document in documents
        for mention in document.mentions
        for concept in mention.concepts
    )


def passages_of(text: Path, *, seed: int = 0) -> list[Document]:
    """Return the lines of a text as documents, in random order."""
    lines = [line.strip() for chunk in read_lines(text) for line in chunk if line.strip()]
    return [
        Document(str(at), at, (Passage("abstract", 0, lines[at]),))
        for at in np.random.default_rng(seed).permutation(len(lines)).tolist()
    ]


def recall_of(documents: Sequence[GoldDocument], found: Sequence[Sequence[Mention]]) -> tuple[Counter[str], list[str]]:
    """Count names by type: all, found as a span of the type, and linked to a right concept.

    Returns: the counts, and the names that are most often not linked, each with how often it is missed.
    """
    counts: Counter[str] = Counter()
    every: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for document, mentions in zip(documents, found, strict=True):
        spans = {(m.start, m.end, m.entity_type): m.mesh_id for m in mentions}
        for gold in document.mentions:
            place = (gold.start, gold.end, gold.entity_type)
            linked = spans.get(place) in gold.concepts
            counts[f"{gold.entity_type} names"] += 1
            counts[f"{gold.entity_type} found"] += place in spans
            counts[f"{gold.entity_type} linked"] += linked
            words = document.text[gold.start : gold.end].lower()
            every[words] += 1
            missed[words] += not linked
    most = [f"{words} {count} of {every[words]}" for words, count in missed.most_common(MISSED) if count]
    return counts, most


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Measure the recall from the command line."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.tasks.evaluation.unseen_names", description=__doc__)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--text", type=Path, help="passages, one per line, plain or .xz")
    parser.add_argument("--documents", type=Path, help="a file of documents in any format that annotate reads")
    parser.add_argument("--corpus", type=Path, required=True, help="file of e2emern corpus with all training data")
    parser.add_argument("--mesh", type=Path, required=True, help="entities table")
    parser.add_argument("--passages", type=int, default=PASSAGES, help="passages per source (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    cascade = load_cascade(options.model, mesh=options.mesh, banks=options.model, device=options.device)
    vocabulary = cascade.vocabulary
    named = concepts_of(read_corpus(options.corpus), vocabulary)
    sources: dict[str, Iterable[Document]] = {}
    if options.text:
        sources[options.text.name] = passages_of(options.text)
    if options.documents:
        sources[options.documents.name] = (one for one in parse(options.documents) if isinstance(one, Document))
    for name, documents in sources.items():
        chosen = unseen_passages(name, documents, vocabulary=vocabulary, named=named, most=options.passages)
        found, _ = annotate_gold(cascade, chosen, progress=each_tenth(log))
        counts, missed = recall_of(chosen, found)
        print(json.dumps({"source": name, "documents": len(chosen), **dict(sorted(counts.items())), "missed": missed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

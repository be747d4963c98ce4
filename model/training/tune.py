"""Fits on development documents what inference weighs, and keeps it in the model's configuration.

    python -m model.training.tune MODEL --corpus FILE --mesh FILE --splits ncbi-disease/dev,bc5cdr/dev

Three things: the least probability of a span (for `ner` F1), the weights of the resolver (likelihood; the low
level's own spans are linked, right and wrong ones alike, so that "none of them" is learned too), and how much
"none of them" is held back (for `document` F1). F1 is the mean over corpora and types. What the resolver gains is
told by cross-validation over documents, since figures on the documents it was fitted to are too good.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..corpus import GoldDocument, read_corpus
from ..document import Mention, Text
from ..evaluation.scores import score_corpus, total
from ..inference.cascade import Cascade, Linked, load_cascade
from ..inference.linking import Span
from ..inference.report import Report
from ..inference.resolver import Example, Resolver
from ..vocabulary import Vocabulary

THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TOLERANCE = 0.005
SHIFTS = (-5.0, -4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)


def tune(
    cascade: Cascade, documents: Sequence[GoldDocument], *, seen: Sequence[GoldDocument] = ()
) -> tuple[dict[str, Any], dict[str, float]]:
    """Sets the cascade's span threshold and resolver.

    Args:
        seen: the training documents, which say how often each concept is named.

    Returns: what the configuration keeps, and the cross-validated accuracy@1 of the spans found, by corpus and type.
    """
    texts = [Text(document.sentences, dict(document.abbreviations)) for document in documents]
    prior = count_concepts(seen, vocabulary=cascade.vocabulary)
    cascade.resolver = replace(cascade.resolver, prior=prior)
    with torch.inference_mode():
        windows, hidden, read = cascade.read_spans(texts)

        def spans_at(threshold: float) -> list[Span]:
            cascade.span_threshold = threshold
            return cascade.agree(texts, windows, read)

        reached = {threshold: _ner_f1(cascade, documents, spans_at(threshold)) for threshold in THRESHOLDS}
        # A lower threshold leaves the linker more to choose from, so the lowest that costs little is taken.
        threshold = min(t for t, f1 in reached.items() if f1 >= max(reached.values()) - TOLERANCE)
        linked = cascade.link(texts, windows, hidden, spans_at(threshold), Report())
    examples = examples_of(linked, documents, cascade=cascade)
    resolver = Resolver.fit([example for _, example in examples], prior=prior)

    def document_f1(shift: float) -> float:
        cascade.resolver = resolver.inclined(shift)
        found = cascade.resolve(linked, windows, len(documents))
        return _mean_f1(cascade, documents, found, "document")

    cascade.resolver = resolver.inclined(max(SHIFTS, key=document_f1))
    fitted = {"span_threshold": cascade.span_threshold, "resolver": cascade.resolver.to_dict()}
    return fitted, cross_validated(examples, linked, documents)


def count_concepts(documents: Sequence[GoldDocument], *, vocabulary: Vocabulary) -> dict[str, int]:
    """How often the documents name each concept of the vocabulary, by id in order."""
    named = Counter(
        vocabulary.canonical(concept)
        for document in documents
        for mention in document.mentions
        for concept in mention.concepts
    )
    return {concept: named[concept] for concept in sorted(named) if concept in vocabulary.position}


def cross_validated(
    examples: Sequence[tuple[int, Example]], linked: Linked, documents: Sequence[GoldDocument], *, folds: int = 5
) -> dict[str, float]:
    """Accuracy@1 of groups that have a right concept, each weighed by a resolver fitted without its document's fold."""
    right: dict[str, list[bool]] = {}
    for fold in range(folds):
        own = [_document_of(linked, at) % folds == fold for at, _ in examples]
        training = [example for (_, example), held in zip(examples, own, strict=True) if not held]
        if not training:
            continue
        resolver = Resolver.fit(training)
        for (at, (features, _, correct)), held in zip(examples, own, strict=True):
            if held and correct.any():
                key = f"{documents[_document_of(linked, at)].corpus} {linked.groups[at].entity_type}"
                right.setdefault(key, []).append(bool(correct[resolver.scores(features).argmax()]))
    return {key: round(float(np.mean(answers)), 4) for key, answers in sorted(right.items())}


def _document_of(linked: Linked, group: int) -> int:
    return linked.spans[linked.groups[group].spans[0]].document


def examples_of(linked: Linked, documents: Sequence[GoldDocument], *, cascade: Cascade) -> list[tuple[int, Example]]:
    """One example a group, beside the group's position: its evidence, its probability, and which candidates gold names.

    A candidate is right when a gold mention of the type that overlaps one of the group's spans has it.
    Types that the corpus does not annotate give no examples.
    """
    examples = []
    for position, (group, features) in enumerate(zip(linked.groups, linked.features, strict=True)):
        spans = [linked.spans[at] for at in group.spans]
        document = documents[spans[0].document]
        if group.entity_type not in document.annotated_types or not len(features):
            continue
        gold = {
            cascade.vocabulary.canonical(concept)
            for mention in document.mentions
            for span in spans
            if mention.entity_type == group.entity_type and mention.start < span.end and span.start < mention.end
            for concept in mention.concepts
        }
        right = np.array([cascade.vocabulary.concepts[at].mesh_id in gold for at in group.concepts.tolist()])
        examples.append((position, (features, max(span.score for span in spans), right)))
    return examples


def _ner_f1(cascade: Cascade, documents: Sequence[GoldDocument], spans: Sequence[Span]) -> float:
    found: list[list[Mention]] = [[] for _ in documents]
    for span in spans:
        found[span.document].append(Mention(span.start, span.end, span.text, span.entity_type, 0, span.score))
    return _mean_f1(cascade, documents, found, "ner")


def _mean_f1(
    cascade: Cascade, documents: Sequence[GoldDocument], found: Sequence[Sequence[Mention]], protocol: str
) -> float:
    figures = []
    for corpus in sorted({document.corpus for document in documents}):
        chosen = [at for at, document in enumerate(documents) if document.corpus == corpus]
        scores = score_corpus(
            [documents[at] for at in chosen],
            [found[at] for at in chosen],
            canonical=cascade.vocabulary.canonical,
        )
        figures += [total(counts).f1 for counts in scores[protocol].values()]
    return float(np.mean(figures))


def main(arguments: list[str] | None = None) -> int:
    """Tunes from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.tune", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--mesh", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--seen", default="ncbi-disease/train,bc5cdr/train", help="training splits, for the prior")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    cascade = load_cascade(options.model, mesh=options.mesh, banks=options.model, device=options.device)
    fitted, validated = tune(
        cascade,
        read_corpus(options.corpus, splits=options.splits.split(",")),
        seen=read_corpus(options.corpus, splits=options.seen.split(",")),
    )
    path = options.model / "config.json"
    temporary = path.with_name("config.json.tmp")
    temporary.write_text(json.dumps(json.loads(path.read_text()) | fitted, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)
    print(json.dumps({"span_threshold": fitted["span_threshold"], "accuracy@1, cross-validated": validated}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

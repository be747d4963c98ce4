"""Calibrates inference on development documents, and keeps the result in the model's configuration.

    python -m e2emern.model.training.calibrate MODEL --corpus FILE --mesh FILE --splits ncbi-disease/dev,bc5cdr/dev

Four things are fitted:

* the weights of the resolver, by likelihood, on the spans that the low level finds. These include wrong and
low-confidence ones, so that "none of them" is learned too. The training strings are hidden in every second example,
so that words that are not in training are linked well too.
* the bias of "none of them", for `document` F1, by cross-validation over documents.
* the utility of "none of them" for gold spans, for accuracy, by cross-validation.
* the minimum probability of a span that is not linked, for `ner` F1, by cross-validation.

F1 is the mean over corpora and types. The reported accuracy is cross-validated too, since figures on the documents used
for fitting are too high.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from e2emern.model.cli import fails_in_one_line, log, model_parser
from e2emern.model.corpus import GoldDocument, read_corpus, text_of
from e2emern.model.document import Mention
from e2emern.model.errors import FileError
from e2emern.model.evaluation.comparison import mean_figure
from e2emern.model.evaluation.scores import count
from e2emern.model.inference.cascade import RECALL_BIAS, Cascade, load_cascade
from e2emern.model.inference.features import FEATURES, NONE_FEATURES, none_features_of
from e2emern.model.inference.linked import Linked
from e2emern.model.inference.resolver import EVIDENCE, NEVER, Example, Resolver
from e2emern.model.inference.timings import Report
from e2emern.model.inference.training_strings import TrainingStrings
from e2emern.model.pretrained import keep_fitted, stored_fitted
from e2emern.model.progress import Progress, each_tenth, silent
from e2emern.model.seen import Seen, add_seen, identities, read_seen, unseen
from e2emern.model.vocabulary import Vocabulary

THRESHOLDS = (0.0, *(round(1 / (1 + math.exp(-log_odds / 2)), 5) for log_odds in range(-2, 19)))
"""Thresholds for a span that is not linked, half a unit of log-odds apart: 0.26892, ..., 0.99988."""
NEAR = 2
"""Steps of `THRESHOLDS` by which a threshold may move if a model is trained further: one unit of log-odds."""
FOLDS = 5
SHIFTS = (-5.0, -4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)


def tune(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    *,
    seen: Sequence[GoldDocument] = (),
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Fit the cascade's span threshold and resolver.

    Args:
        seen: the training documents, whose concepts are counted for the prior.
        thresholds: to choose from.

    Returns: the values for the configuration, and the cross-validated accuracy@1 of the found spans by corpus and type;
    both empty if no span was found to fit on.
    """
    texts = [text_of(document) for document in documents]
    cascade.resolver = remember(cascade.resolver, seen, vocabulary=cascade.vocabulary)
    cascade.recall_bias = RECALL_BIAS
    with torch.inference_mode():
        states, spans = cascade.find_spans(texts)
        linked = cascade.link(texts, states, spans, Report())
    examples = examples_of(linked, documents, cascade=cascade)
    if not examples or all(span.listed for span in spans):
        return {}, {}
    resolver = Resolver.fit(partly_unaided([example for _, example in examples]), remembered=cascade.resolver)
    of_folds = fit_folds(examples, linked, otherwise=resolver)
    given = fit_given(cascade, documents, of_folds=of_folds)

    def mean_f1(found: Sequence[Sequence[Mention]], protocol: str) -> float:
        return mean_figure(count(documents, found, canonical=cascade.vocabulary.canonical, protocols=(protocol,)))

    def held_out(shift: float) -> list[list[Mention]]:
        found: list[list[Mention]] = [[] for _ in documents]
        for fold, held_out in enumerate(of_folds):
            cascade.resolver = held_out.inclined(shift)
            part = _of_fold(linked, fold)
            for document, mentions in enumerate(cascade.resolve(part, states.windows, len(documents))):
                found[document] += mentions
        return found

    def ner_f1(threshold: float) -> float:
        cascade.span_threshold = threshold
        return mean_f1(held_out(shift), "ner")

    shift = max(SHIFTS, key=lambda shift: mean_f1(held_out(shift), "document"))
    cascade.span_threshold = max(thresholds, key=ner_f1)
    cascade.resolver = replace(resolver.inclined(shift), given=given)
    fitted = {"span_threshold": cascade.span_threshold, "resolver": cascade.resolver.to_dict()}
    return fitted, cross_validated(of_folds, examples, linked, documents, vocabulary=cascade.vocabulary)


def tune_folder(
    folder: Path,
    *,
    mesh: Path,
    documents: Sequence[GoldDocument],
    seen: Sequence[GoldDocument],
    near: float | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Fit the model of a folder as `tune` does, and keep the result there; the documents are then seen (`model.seen`).

    Args:
        near: a threshold from which the new one may differ by at most `NEAR` steps.
        progress: called while a new bank is built.

    Raises:
        FileError: the model or an ancestor was trained on one of the documents.
    """
    kept = choosable(folder, documents)
    if trained := [document for document in documents if document not in kept]:
        number = f"{len(trained)} of {len(documents)} documents to fit on"
        raise FileError(f"was trained on {number}, such as {trained[0].document_id}; name others", folder)
    cascade = load_cascade(folder, mesh=mesh, banks=folder, device=device, fitted=False, progress=progress)
    thresholds = THRESHOLDS if near is None else thresholds_near(near)
    fitted, validated = tune(cascade, documents, seen=seen, thresholds=thresholds)
    add_seen(folder, Seen(fitted=identities(documents)))
    keep_fitted(folder, fitted)
    return fitted, validated


def choosable(folder: Path, documents: Sequence[GoldDocument]) -> list[GoldDocument]:
    """Return the documents that neither a model nor an ancestor was trained on, so that it can be fitted on them."""
    known = read_seen(folder)
    return unseen(documents, known.trained if known else frozenset())


def thresholds_near(threshold: float) -> Sequence[float]:
    """Return the thresholds at most `NEAR` steps from the one that is nearest to `threshold`."""
    at = min(range(len(THRESHOLDS)), key=lambda at: abs(THRESHOLDS[at] - threshold))
    return THRESHOLDS[max(0, at - NEAR) : at + NEAR + 1]


def read_fitted(folder: Path) -> dict[str, Any] | None:
    """Return the fitted values of a model folder; None if nothing was fitted.

    Raises:
        ValueError: another version of this module fitted them.
    """
    fitted = stored_fitted(folder)
    if fitted is not None:
        Resolver.from_dict(fitted["resolver"])
    return fitted


def remember(resolver: Resolver, documents: Sequence[GoldDocument], *, vocabulary: Vocabulary) -> Resolver:
    """Return a resolver with the counts of the concepts and strings of training documents."""
    return replace(
        resolver,
        prior=count_concepts(documents, vocabulary=vocabulary),
        strings=TrainingStrings.of(documents, vocabulary=vocabulary),
    )


def counts_of(documents: Sequence[GoldDocument], *, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the part of a stored resolver that is counted in training documents."""
    stored = remember(Resolver.unfitted(), documents, vocabulary=vocabulary).to_dict()
    return {"prior": stored["prior"], "strings": stored["strings"]}


def partly_unaided(examples: Sequence[Example]) -> list[Example]:
    """Return the examples, every second one without its training strings."""
    candidates = np.array([name not in EVIDENCE["training"] for name in FEATURES], np.float32)
    none = np.array([name not in ("marked", "unmarked") for name in NONE_FEATURES], np.float32)
    return [
        (features * candidates, free * none, right) if at % 2 else (features, free, right)
        for at, (features, free, right) in enumerate(examples)
    ]


def fit_given(cascade: Cascade, documents: Sequence[GoldDocument], *, of_folds: Sequence[Resolver]) -> float:
    """Return the utility of "none of them" with which the most gold spans are linked, or left unlinked, as in gold.

    Each is scored by the resolver that was fitted without its fold.
    """
    texts = [text_of(document) for document in documents]
    given = [[(m.start, m.end, m.entity_type) for m in document.mentions] for document in documents]
    with torch.inference_mode():
        states, spans = cascade.find_spans(texts, given=given)
        linked = cascade.link(texts, states, spans, Report())
    best: list[tuple[float, int]] = []  # utility, and what linking is worth: 1 if right, -1 if gold has no concept
    for at, (features, _, correct) in examples_of(linked, documents, cascade=cascade):
        scores = of_folds[_document_of(linked, at) % FOLDS].scores(features)
        top = int(scores.argmax())
        unanswerable = not _gold_of(linked, at, documents, cascade.vocabulary)
        best.append((float(scores[top]), int(correct[top]) - int(unanswerable)))
    best.sort()
    gains = np.cumsum([-worth for _, worth in best])  # of leaving the first ones unlinked
    if not len(gains) or gains.max() <= 0:
        return -NEVER
    return best[int(gains.argmax())][0]


def count_concepts(documents: Sequence[GoldDocument], *, vocabulary: Vocabulary) -> dict[str, float]:
    """Return how often a thousand documents name each concept of the vocabulary, sorted by id.

    Rates, not counts, so that a resolver also serves a model that was trained on more documents.
    """
    named = Counter(
        vocabulary.canonical(concept)
        for document in documents
        for mention in document.mentions
        for concept in mention.concepts
    )
    return {
        concept: round(1000 * named[concept] / len(documents), 1)
        for concept in sorted(named)
        if concept in vocabulary.position
    }


def fit_folds(examples: Sequence[tuple[int, Example]], linked: Linked, *, otherwise: Resolver) -> list[Resolver]:
    """Return for each fold of the documents a resolver fitted to the others; `otherwise` without any example."""
    resolvers = []
    for fold in range(FOLDS):
        training = [example for at, example in examples if _document_of(linked, at) % FOLDS != fold]
        resolvers.append(Resolver.fit(partly_unaided(training), remembered=otherwise) if training else otherwise)
    return resolvers


def cross_validated(
    resolvers: Sequence[Resolver],
    examples: Sequence[tuple[int, Example]],
    linked: Linked,
    documents: Sequence[GoldDocument],
    *,
    vocabulary: Vocabulary,
) -> dict[str, float]:
    """Return accuracy@1 of groups with a gold concept, each resolved by the resolver fitted without its fold."""
    right: dict[str, list[bool]] = {}
    for at, (features, _, correct) in examples:
        document = _document_of(linked, at)
        if not vocabulary.position.keys().isdisjoint(_gold_of(linked, at, documents, vocabulary)):
            key = f"{documents[document].corpus} {linked.groups[at].entity_type}"
            best = resolvers[document % FOLDS].scores(features).argmax()
            right.setdefault(key, []).append(bool(correct[best]))
    return {key: round(float(np.mean(answers)), 4) for key, answers in sorted(right.items())}


def _of_fold(linked: Linked, fold: int) -> Linked:
    chosen = [at for at in range(len(linked.groups)) if _document_of(linked, at) % FOLDS == fold]
    return linked.only(chosen)


def _document_of(linked: Linked, group: int) -> int:
    return linked.spans[linked.groups[group].spans[0]].document


def examples_of(linked: Linked, documents: Sequence[GoldDocument], *, cascade: Cascade) -> list[tuple[int, Example]]:
    """Return one example for each group, with the group's position.

    A candidate is correct if a gold mention of the type that overlaps one of the group's spans has it. Types that the
    corpus does not annotate give no examples, and neither do names within longer spans.
    """
    examples = []
    free = none_features_of(linked.groups, ner=linked.confidence)
    for position, group in enumerate(linked.groups):
        features = linked.features_of(position)
        document = documents[_document_of(linked, position)]
        of_longer = all(linked.spans[at].around for at in group.spans)
        if group.entity_type not in document.annotated_types or not len(features) or of_longer:
            continue
        gold = _gold_of(linked, position, documents, cascade.vocabulary)
        right = np.array([cascade.vocabulary.concepts[at].mesh_id in gold for at in linked.concepts_of(position)])
        examples.append((position, (features, free[position], right)))
    return examples


def _gold_of(linked: Linked, at: int, documents: Sequence[GoldDocument], vocabulary: Vocabulary) -> set[str]:
    """Return the concepts of the gold mentions that overlap the spans of a group and have its type."""
    group = linked.groups[at]
    spans = [linked.spans[each] for each in group.spans]
    spans = [span for span in spans if span.around is None] or spans
    return {
        vocabulary.canonical(concept)
        for mention in documents[spans[0].document].mentions
        for span in spans
        if mention.entity_type == group.entity_type and mention.start < span.end and span.start < mention.end
        for concept in mention.concepts
    }


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Calibrate a model from the command line."""
    parser = model_parser("python -m e2emern.model.training.calibrate", description=__doc__)
    parser.add_argument("--seen", default="ncbi-disease/train,bc5cdr/train", help="training splits, for the prior")
    options = parser.parse_args(arguments)
    fitted, validated = tune_folder(
        options.model,
        mesh=options.mesh,
        documents=read_corpus(options.corpus, splits=options.splits.split(",")),
        seen=read_corpus(options.corpus, splits=options.seen.split(",")),
        device=options.device,
        progress=each_tenth(log),
    )
    if not fitted:
        print(f"error: no span was found in {options.splits}: there is nothing to fit on", file=sys.stderr)
        return 1
    print(json.dumps({"span_threshold": fitted["span_threshold"], "accuracy@1, cross-validated": validated}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Evaluates a model on gold documents under every protocol, next to a floor and a ceiling.

python -m e2emern.model.evaluation.evaluate MODEL --corpus FILE --mesh FILE --splits bc5cdr/dev --output scores.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from e2emern.model.cli import fails_in_one_line, log, model_parser
from e2emern.model.corpus import GoldDocument, GoldMention, read_corpus, text_of
from e2emern.model.document import Mention
from e2emern.model.evaluation.baselines import DEPTHS, find_bounds
from e2emern.model.evaluation.comparison import UNAIDED
from e2emern.model.evaluation.cutoffs import by_score
from e2emern.model.evaluation.metrics import Evaluation, wide_rows
from e2emern.model.evaluation.paper import count_paper
from e2emern.model.evaluation.report import write_report
from e2emern.model.evaluation.scores import JUDGES, Counts, count, count_links
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.files import write_text
from e2emern.model.inference.cascade import Cascade, load_cascade
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.linked import Linked
from e2emern.model.inference.resolver import Resolver
from e2emern.model.inference.timings import Report
from e2emern.model.inference.training_strings import TrainingStrings
from e2emern.model.progress import Progress, each_tenth, silent

PROTOCOLS = ("ner", "link", "mention", "document", "paper")

_CHUNK = 100  # documents at a time
_Rankings = list[list[list[str]]]  # for each document and mention, concepts, best first


def evaluate(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    *,
    protocols: Sequence[str] = PROTOCOLS,
    slicer: Slicer | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Count a model's correct results in every document, under the named protocols.

    A model without a high level is not counted under `paper`, which needs it.
    """
    canonical = cascade.vocabulary.canonical
    counts: Counts = {}
    scored = None
    raw = [protocol for protocol in protocols if protocol in JUDGES]
    if raw:
        found, _ = annotate_gold(cascade, documents, progress=progress)
        counts |= count(documents, found, canonical=canonical, protocols=raw, slicer=slicer)
        scored = by_score(documents, found, canonical=canonical)
    if "link" in protocols:
        answers, unaided, candidates = rank_gold(cascade, documents, progress=progress)
        depths = {f"recall@{depth}": depth for depth in DEPTHS}
        for rankings, asked in ((answers, {"link": 1}), (unaided, {UNAIDED: 1}), (candidates, depths)):
            counts |= count_links(documents, rankings, canonical=canonical, depths=asked, slicer=slicer)
    if "paper" in protocols and cascade.model.config.use_high:
        counts |= count_paper(cascade, documents, progress=progress)
    return Evaluation(cascade.model_version, cascade.mesh_version, counts, scored)


def annotate_gold(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    *,
    progress: Progress = silent,
) -> tuple[list[list[Mention]], Report]:
    """Run the whole cascade on the raw text of gold documents."""
    mentions: list[list[Mention]] = []
    report = Report()
    for chunk in _chunks(documents):
        found, done = cascade.annotate([text_of(document) for document in chunk])
        mentions += found
        report += done
        progress("documents annotated", len(mentions), len(documents))
    return mentions, report


def link_gold(
    cascade: Cascade, documents: Sequence[GoldDocument], *, resolvers: Sequence[Resolver] = ()
) -> list[_Rankings]:
    """Rank the candidates of gold spans with each resolver, or with the cascade's own.

    Returns: for each resolver, document and mention, the concepts, best first.
    """
    resolvers = resolvers or [cascade.resolver]
    answers: list[_Rankings] = [[] for _ in resolvers]
    for chunk in _chunks(documents):
        linked, _, _ = _link_chunk(cascade, chunk)
        for resolver, mine in zip(resolvers, answers, strict=True):
            mine += _resolved(cascade, chunk, linked, resolver)
    return answers


def rank_gold(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    *,
    deepest: int = DEPTHS[-1],
    progress: Progress = silent,
) -> tuple[_Rankings, _Rankings, _Rankings]:
    """Link the gold spans, and find `deepest` candidates for each.

    Returns: for each document and mention, the concepts, best first: as the resolver ranks them, as it ranks them
        without training strings, and as the candidate search does (`candidates.Found.merged`).
    """
    answers: _Rankings = []
    unaided: _Rankings = []
    candidates: _Rankings = []
    for chunk in _chunks(documents):
        linked, without, deeper = _link_chunk(cascade, chunk, deepest=deepest)
        answers += _resolved(cascade, chunk, linked, cascade.resolver)
        unaided += _resolved(cascade, chunk, without, cascade.resolver)
        candidates += _ranked(cascade, chunk, linked.spans, linked.groups, deeper)
        progress("documents linked", len(answers), len(documents))
    return answers, unaided, candidates


@torch.inference_mode()
def _link_chunk(
    cascade: Cascade, documents: Sequence[GoldDocument], *, deepest: int = 0
) -> tuple[Linked, Linked, list[np.ndarray]]:
    """Return the gold spans as the cascade links them, with training strings and without.

    Also return `deepest` candidates of each group. If that is 0, return none, and the spans with training strings
    twice.
    """
    texts = [text_of(document) for document in documents]
    given = [[(m.start, m.end, m.entity_type) for m in document.mentions] for document in documents]
    states, spans = cascade.find_spans(texts, given=given)
    linked = cascade.link(texts, states, spans, Report())
    if not deepest:
        return linked, linked, []
    aided = cascade.resolver
    cascade.resolver = replace(aided, strings=TrainingStrings())
    without = cascade.link(texts, states, spans, Report())
    unaided = cascade.group(texts, spans)
    cascade.resolver = aided
    deeper = cascade.candidates.candidates(unaided, spans, states, k=deepest)
    return linked, without, [deeper.concepts[begin:end] for begin, end in pairwise(deeper.first.tolist())]


def _resolved(cascade: Cascade, documents: Sequence[GoldDocument], linked: Linked, resolver: Resolver) -> _Rankings:
    """Return the candidates of each gold mention as a resolver ranks them."""
    ranked = [
        linked.concepts_of(at)[np.argsort(-resolver.scores(linked.features_of(at)), kind="stable")]
        for at in range(len(linked.groups))
    ]
    return _ranked(cascade, documents, linked.spans, linked.groups, ranked)


def _ranked(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    spans: Sequence[Span],
    groups: Sequence[Group],
    ranked: Sequence[np.ndarray],
) -> _Rankings:
    """Return the ids of the concepts that are ranked for the group of each gold mention."""
    concepts = cascade.vocabulary.concepts
    found: dict[tuple[int, str], list[tuple[int, int, list[str]]]] = {}
    for group, mine in zip(groups, ranked, strict=True):
        best = [concepts[at].mesh_id for at in mine.tolist()]
        for span in (spans[at] for at in group.spans):
            found.setdefault((span.document, span.entity_type), []).append((span.start, span.end, best))
    return [
        [_nearest(m, found.get((number, m.entity_type), [])) for m in document.mentions]
        for number, document in enumerate(documents)
    ]


def _nearest(mention: GoldMention, spans: Sequence[tuple[int, int, list[str]]]) -> list[str]:
    """Return the concepts of the span nearest to a mention: gold may begin or end within a word, spans do not."""
    overlapping = [span for span in spans if span[0] < mention.end and mention.start < span[1]]
    return min(
        overlapping,
        key=lambda span: abs(span[0] - mention.start) + abs(span[1] - mention.end),
        default=(0, 0, list[str]()),
    )[2]


def _chunks(documents: Sequence[GoldDocument]) -> Iterator[Sequence[GoldDocument]]:
    for begin in range(0, len(documents), _CHUNK):
        yield documents[begin : begin + _CHUNK]


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Evaluate from the command line."""
    parser = model_parser("python -m e2emern.model.evaluation.evaluate", description=__doc__)
    parser.add_argument("--seen", default="ncbi-disease/train,bc5cdr/train", help="training splits, for the floor")
    parser.add_argument("--output", type=Path, help="where to write the rows as JSON")
    options = parser.parse_args(arguments)
    if options.output and options.output.is_dir():
        parser.error(f"--output {options.output}: is a folder, expected a file to write to")
    cascade = load_cascade(
        options.model, mesh=options.mesh, banks=options.model, device=options.device, progress=each_tenth(log)
    )
    documents = read_corpus(options.corpus, splits=options.splits.split(","))
    seen = read_corpus(options.corpus, splits=options.seen.split(","))
    bounds = find_bounds(documents, cascade.vocabulary, seen=seen)
    evaluation = evaluate(cascade, documents)
    result = {
        "model_version": cascade.model_version,
        "mesh_version": cascade.mesh_version,
        "rows": wide_rows(evaluation, bounds),
    }
    if options.output:
        write_text(options.output, json.dumps(result, indent=1) + "\n")
    print(write_report([evaluation], bounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())

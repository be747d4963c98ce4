"""Ablation of the linker on gold spans: the sources of candidates, and the kinds of evidence.

    python -m experiments.linker_ablation MODEL --corpus FILE --mesh FILE --splits ncbi-disease/dev,bc5cdr/dev

Prints recall@k of each source and of all together, then accuracy@1 of resolvers that are fitted on a part of the
evidence, cross-validated over documents.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from e2emern.model.cli import fails_in_one_line, log, model_parser
from e2emern.model.corpus import GoldDocument, read_corpus, text_of
from e2emern.model.inference.cascade import Cascade, load_cascade
from e2emern.model.inference.features import FEATURES, none_features_of
from e2emern.model.inference.resolver import EVIDENCE, Example, Resolver
from e2emern.model.inference.timings import Report
from e2emern.model.progress import each_tenth

DEPTHS = (1, 4, 16, 64)
FOLDS = 5
_NAMES = ("name", "variant", "head", "spelling")
EVIDENCE_SEEN: Mapping[str, tuple[str, ...]] = {
    "whole": tuple(EVIDENCE),
    "names alone": _NAMES,
    "likeness alone": ("likeness",),
    "bank alone": ("bank",),
    "mid alone": ("mid",),
    "high alone": ("high",),
    "prior alone": ("prior",),
    "training strings alone": ("training",),
    "without names": tuple(kind for kind in EVIDENCE if kind not in _NAMES),
    **{f"without {left_out}": tuple(kind for kind in EVIDENCE if kind != left_out) for left_out in
       ("likeness", "bank", "mid", "high", "prior", "training")},
}  # fmt: skip
"""The kinds of evidence that each resolver of the ablation is fitted on."""

Table = dict[str, dict[str, list[float]]]
"""Figures by corpus and type, then by row."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A group of gold spans, its candidates by source, and the gold concepts of each of its mentions."""

    document: int
    corpus: str
    gold: list[set[int]]
    sources: dict[str, list[int]]
    example: Example
    concepts: list[int]


def recall_of_sources(cases: Sequence[_Case]) -> Table:
    """Return the share of mentions with a gold concept among the first k of a source, for each k of `DEPTHS`."""
    hits: dict[str, dict[str, list[int]]] = {}
    mentions: Counter[str] = Counter()
    for case in cases:
        mentions[case.corpus] += len(case.gold)
        for source, found in case.sources.items():
            counts = hits.setdefault(case.corpus, {}).setdefault(source, [0] * len(DEPTHS))
            for place, depth in enumerate(DEPTHS):
                counts[place] += sum(not gold.isdisjoint(found[:depth]) for gold in case.gold)
    return {
        corpus: {source: [count / mentions[corpus] for count in counts] for source, counts in rows.items()}
        for corpus, rows in hits.items()
    }


def ablate(cases: Sequence[_Case], *, folds: int = FOLDS) -> Table:
    """Return the accuracy@1 over mentions of each row of `EVIDENCE_SEEN`, cross-validated over documents."""
    table: Table = {}
    for row, kinds in EVIDENCE_SEEN.items():
        seen = np.isin(FEATURES, ["disease", *(name for kind in kinds for name in EVIDENCE[kind])]).astype(np.float32)
        right: dict[str, list[bool]] = {}
        for fold in range(folds):
            training = [
                (case.example[0] * seen, *case.example[1:])
                for case in cases
                if case.document % folds != fold and case.example[2].any()
            ]
            if not training:
                continue
            resolver = Resolver.fit(training, fits=1)  # enough to compare rows; five fits take five times as long
            for case in cases:
                if case.document % folds == fold:
                    scores = resolver.scores(case.example[0] * seen)
                    best = case.concepts[int(scores.argmax())] if len(scores) else None
                    right.setdefault(case.corpus, []).extend(best in gold for gold in case.gold)
        for corpus, answers in right.items():
            table.setdefault(corpus, {})[row] = [float(np.mean(answers))]
    return table


def read_cases(cascade: Cascade, documents: Sequence[GoldDocument], *, chunk: int = 100) -> list[_Case]:
    """Link the gold spans of documents, and return the candidates and evidence of each group."""
    cases = []
    for begin in range(0, len(documents), chunk):
        some = documents[begin : begin + chunk]
        texts = [text_of(document) for document in some]
        given = [[(m.start, m.end, m.entity_type) for m in d.mentions if m.concepts] for d in some]
        with torch.inference_mode():
            states, spans = cascade.find_spans(texts, given=given)
            linked = cascade.link(texts, states, spans, Report())
            found = cascade.candidates.search(linked.groups, spans, states, k=DEPTHS[-1])
        gold = {
            (number, m.start, m.end, m.entity_type): {
                cascade.vocabulary.position.get(cascade.vocabulary.canonical(concept), -1) for concept in m.concepts
            }
            for number, document in enumerate(some)
            for m in document.mentions
        }
        none = none_features_of(linked.groups, ner=np.ones(len(linked.groups)))
        for place, (group, sources) in enumerate(zip(linked.groups, found, strict=True)):
            concepts = linked.concepts_of(place).tolist()
            own = [spans[at] for at in group.spans]
            wanted = [gold[span.document, span.start, span.end, span.entity_type] for span in own]
            answers = set().union(*wanted)
            right = np.array([concept in answers for concept in concepts], bool)
            cases.append(
                _Case(
                    begin + own[0].document,
                    f"{some[own[0].document].corpus} {group.entity_type}",
                    wanted,
                    {
                        "exact": list(sources.exact),
                        "name": list(sources.by_name),
                        "context": list(sources.by_context),
                        "union": sources.merged(DEPTHS[-1]),
                    },
                    (linked.features_of(place), none[place], right),
                    concepts,
                )
            )
    return cases


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Print both tables from the command line."""
    parser = model_parser("python -m experiments.linker_ablation", description=__doc__)
    options = parser.parse_args(arguments)
    cascade = load_cascade(
        options.model, mesh=options.mesh, banks=options.model, device=options.device, progress=each_tenth(log)
    )
    cases = read_cases(cascade, read_corpus(options.corpus, splits=options.splits.split(",")))
    print(f"model {cascade.model_version}, MeSH {cascade.mesh_version}, {options.splits}")
    print_table(recall_of_sources(cases), columns=[f"recall@{depth}" for depth in DEPTHS])
    print_table(ablate(cases), columns=["accuracy@1"])
    return 0


def print_table(table: Table, *, columns: Sequence[str]) -> None:
    """Print figures in per cent, as Markdown."""
    print(f"\n| gold spans | | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for corpus, rows in sorted(table.items()):
        for row, figures in rows.items():
            print(f"| {corpus} | {row} | {' | '.join(f'{100 * figure:.1f}' for figure in figures)} |")


if __name__ == "__main__":
    sys.exit(main())

"""Evaluates a model on gold documents and prints every protocol beside its floor and its ceiling.

python -m model.evaluate MODEL --corpus FILE --mesh FILE --splits ncbi-disease/dev,bc5cdr/dev --output scores.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cascade import Cascade, Report, Text, load_cascade
from .corpus import GoldDocument, GoldMention, read_corpus
from .document import Mention
from .evaluation import score_corpus, total
from .vocabulary import Vocabulary, normalise

DEPTHS = (1, 4, 8, 16)


def annotate_gold(cascade: Cascade, documents: Sequence[GoldDocument]) -> tuple[list[list[Mention]], Report]:
    """Runs the whole cascade on the raw text of gold documents."""
    mentions: list[list[Mention]] = []
    report = Report()
    for begin in range(0, len(documents), 100):
        texts = [Text(d.sentences, dict(d.abbreviations)) for d in documents[begin : begin + 100]]
        found, done = cascade.annotate(texts)
        mentions += found
        report += done
    return mentions, report


def link_gold(cascade: Cascade, documents: Sequence[GoldDocument]) -> list[list[tuple[GoldMention, list[str]]]]:
    """Links the gold spans: for each document its mentions with the concepts ranked for them, best first."""
    answers: list[list[tuple[GoldMention, list[str]]]] = []
    concepts = cascade.vocabulary.concepts
    for begin in range(0, len(documents), 100):
        chunk = documents[begin : begin + 100]
        texts = [Text(document.sentences, dict(document.abbreviations)) for document in chunk]
        given = [[(m.start, m.end, m.entity_type) for m in document.mentions] for document in chunk]
        with torch.inference_mode():
            linked = cascade.link(texts, *cascade.find_spans(texts, given=given), Report())
        ranked: dict[tuple[int, int, str], list[str]] = {}
        for group, features in zip(linked.groups, linked.features, strict=True):
            order = np.argsort(-(features @ cascade.resolver.weights), kind="stable")
            best = [concepts[int(group.concepts[place])].mesh_id for place in order]
            for at in group.spans:
                span = linked.spans[at]
                ranked[span.document, span.start, span.entity_type] = best
        for number, document in enumerate(chunk):
            answers.append([(m, ranked.get((number, m.start, m.entity_type), [])) for m in document.mentions])
    return answers


def evaluate(
    cascade: Cascade, documents: Sequence[GoldDocument], *, seen: Sequence[GoldDocument] = ()
) -> list[dict[str, Any]]:
    """All protocols for every corpus and type: one row a figure.

    Args:
        seen: the training documents, for the floor: look-up of their strings.
    """
    vocabulary = cascade.vocabulary
    predicted, _ = annotate_gold(cascade, documents)
    linked = link_gold(cascade, documents)
    memory = strings_of(seen, vocabulary)
    rows: list[dict[str, Any]] = []
    for corpus in sorted({f"{document.corpus}/{document.split}" for document in documents}):
        chosen = [at for at, d in enumerate(documents) if f"{d.corpus}/{d.split}" == corpus]
        gold = [documents[at] for at in chosen]
        scores = score_corpus(gold, [predicted[at] for at in chosen], canonical=vocabulary.canonical)
        for protocol, by_type in scores.items():
            for kind, counts in by_type.items():
                summed = total(counts)
                if summed.tp + summed.fn:
                    figures = {"precision": summed.precision, "recall": summed.recall, "f1": summed.f1}
                    rows.append(_row(corpus, protocol, kind, figures, tp=summed.tp, fp=summed.fp, fn=summed.fn))
        for kind in scores["ner"]:
            asked = [
                (mention, ranking)
                for at in chosen
                for mention, ranking in linked[at]
                if mention.entity_type == kind and mention.concepts
            ]
            if asked:
                figures = _link_figures(
                    asked, [documents[at].text for at in chosen], chosen, linked, vocabulary, memory, kind
                )
                rows.append(_row(corpus, "link", kind, figures, mentions=len(asked)))
    return rows


def strings_of(documents: Sequence[GoldDocument], vocabulary: Vocabulary) -> dict[tuple[str, str], str]:
    """The commonest first concept of every annotated string and type."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for document in documents:
        for mention in document.mentions:
            if mention.concepts:
                key = (mention.entity_type, normalise(document.text[mention.start : mention.end]))
                concept = vocabulary.canonical(mention.concepts[0])
                counts.setdefault(key, {}).setdefault(concept, 0)
                counts[key][concept] += 1
    return {key: max(found, key=lambda concept: found[concept]) for key, found in counts.items()}


def _link_figures(
    asked: list[tuple[GoldMention, list[str]]],
    texts: list[str],
    chosen: list[int],
    linked: list[list[tuple[GoldMention, list[str]]]],
    vocabulary: Vocabulary,
    memory: dict[tuple[str, str], str],
    kind: str,
) -> dict[str, float]:
    """Accuracy@1, recall@k, and beside them exact match of names, the floor and the ceiling."""
    wanted = [{vocabulary.canonical(concept) for concept in mention.concepts} for mention, _ in asked]
    words = [
        text[mention.start : mention.end]
        for text, at in zip(texts, chosen, strict=True)
        for mention, _ in linked[at]
        if mention.entity_type == kind and mention.concepts
    ]
    count = len(asked)
    figures = {
        f"recall@{depth}": sum(
            bool(right & set(ranking[:depth])) for right, (_, ranking) in zip(wanted, asked, strict=True)
        )
        / count
        for depth in DEPTHS
    }
    exact = [_exact_match(text, kind, vocabulary) for text in words]
    remembered = [memory.get((kind, normalise(text))) for text in words]
    return {
        "accuracy@1": figures.pop("recall@1"),
        **figures,
        "exact_match": sum(answer in right for answer, right in zip(exact, wanted, strict=True)) / count,
        "floor": sum(answer in right for answer, right in zip(remembered, wanted, strict=True)) / count,
        "ceiling": sum(bool(right & vocabulary.position.keys()) for right in wanted) / count,
    }


def _exact_match(words: str, kind: str, vocabulary: Vocabulary) -> str | None:
    """The baseline: the concept that bears these words, a preferred name and a smaller id first."""
    how, found = vocabulary.look_up(words, entity_type=kind)
    if how != "exact":
        return None
    return vocabulary.concepts[min(found, key=lambda at: (not found[at], vocabulary.concepts[at].mesh_id))].mesh_id


def _row(corpus: str, protocol: str, kind: str, figures: dict[str, float], **counts: int) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "protocol": protocol,
        "entity_type": kind,
        **{k: round(v, 4) for k, v in figures.items()},
        **counts,
    }


def main(arguments: list[str] | None = None) -> int:
    """Evaluates from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--mesh", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--seen", default="ncbi-disease/train,bc5cdr/train", help="training splits, for the floor")
    parser.add_argument("--output", type=Path, help="where to write the rows as JSON")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    cascade = load_cascade(options.model, mesh=options.mesh, banks=options.model, device=options.device)
    rows = evaluate(
        cascade,
        read_corpus(options.corpus, splits=options.splits.split(",")),
        seen=read_corpus(options.corpus, splits=options.seen.split(",")),
    )
    result = {"model_version": cascade.model_version, "mesh_version": cascade.mesh_version, "rows": rows}
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"model {cascade.model_version}, MeSH {cascade.mesh_version}")
    for row in rows:
        figures = "  ".join(
            f"{name} {value}" for name, value in row.items() if name not in ("corpus", "protocol", "entity_type")
        )
        print(f"{row['corpus']:20} {row['protocol']:9} {row['entity_type']:9} {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

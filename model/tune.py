"""Fits the resolver on development documents and keeps its weights in the model's configuration.

    python -m model.tune MODEL --corpus FILE --mesh FILE --splits ncbi-disease/dev,bc5cdr/dev

The low level's own spans are linked, right and wrong ones alike, so that "none of them" is learned too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .cascade import Cascade, Linked, Report, Text, load_cascade
from .corpus import GoldDocument, read_corpus
from .linking import Resolver


def tune(cascade: Cascade, documents: Sequence[GoldDocument]) -> Resolver:
    """The resolver that makes the gold concepts of the documents likeliest, for the spans the model finds."""
    examples = []
    for begin in range(0, len(documents), 100):
        chunk = documents[begin : begin + 100]
        texts = [Text(document.sentences, dict(document.abbreviations)) for document in chunk]
        with torch.inference_mode():
            linked = cascade.link(texts, *cascade.find_spans(texts), Report())
        examples += examples_of(linked, chunk, cascade=cascade)
    return Resolver.fit(examples)


def examples_of(
    linked: Linked, documents: Sequence[GoldDocument], *, cascade: Cascade
) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """One example a group: its evidence, its probability, and which candidates gold names.

    A candidate is right when a gold mention of the type that overlaps one of the group's spans has it.
    Types that the corpus does not annotate give no examples.
    """
    examples = []
    for group, features in zip(linked.groups, linked.features, strict=True):
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
        examples.append((features, max(span.score for span in spans), right))
    return examples


def main(arguments: list[str] | None = None) -> int:
    """Tunes from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.tune", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--mesh", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    cascade = load_cascade(options.model, mesh=options.mesh, banks=options.model, device=options.device)
    resolver = tune(cascade, read_corpus(options.corpus, splits=options.splits.split(",")))
    path = options.model / "config.json"
    config = json.loads(path.read_text())
    config["resolver"] = resolver.to_dict()
    temporary = path.with_name("config.json.tmp")
    temporary.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)
    print(json.dumps(resolver.to_dict(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Recall of concepts that a model has never read: a tenth of all concepts is left out of its training.

    python -m e2emern.tasks.evaluation.left_out_concepts prepare --corpus corpus.parquet --silver names.parquet \\
        --mesh mesh.parquet --model TEACHER --output left-out
    python -m e2emern.tasks.evaluation.left_out_concepts recall --corpus corpus.parquet --splits bc5cdr/dev \\
        --mesh mesh.parquet --model MODEL --concepts left-out/concepts.json

`prepare` chooses concepts by a digest of their id, and removes every sentence that mentions one of them or has one of
their names, from the train splits of a corpus and from pseudo-labelled text. A model is trained on what is left.
`recall` counts the gold mentions of these concepts in other splits, and how many the model finds and links.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.model.cli import fails_in_one_line, log
from e2emern.model.corpus import GoldDocument, read_corpus, write_corpus
from e2emern.model.document import Mention
from e2emern.model.evaluation.evaluate import annotate_gold
from e2emern.model.files import write_table, write_text
from e2emern.model.inference.cascade import load_cascade
from e2emern.model.inference.listed_names import runs_of_words
from e2emern.model.pretrained import load_model
from e2emern.model.progress import each_tenth
from e2emern.model.vocabulary import Vocabulary, normalise
from e2emern.tasks.evaluation.unseen_names import concepts_of

ONE_IN = 10  # concepts is left out


def is_chosen(concept: str) -> bool:
    """Return whether a concept is left out: always the same ones, about one in `ONE_IN`."""
    return int(hashlib.sha256(concept.encode()).hexdigest(), 16) % ONE_IN == 0


def names_of(concepts: Iterable[str], vocabulary: Vocabulary) -> frozenset[str]:
    """Return the normalised names of concepts."""
    known = (vocabulary.concepts[vocabulary.position[each]] for each in concepts if each in vocabulary.position)
    return frozenset(normalise(name) for concept in known for name in concept.names)


def without_concepts(
    document: GoldDocument, concepts: frozenset[str], names: frozenset[str], *, vocabulary: Vocabulary
) -> GoldDocument:
    """Return a document without the sentences that mention a concept, or have one of the names."""
    mentioned = [
        mention for mention in document.mentions if not concepts.isdisjoint(map(vocabulary.canonical, mention.concepts))
    ]
    sentences = tuple(
        sentence
        for sentence in document.sentences
        if not any(mention.start < sentence.end and sentence.start < mention.end for mention in mentioned)
        and not has_name(sentence.text, names)
    )
    mentions = tuple(
        mention
        for mention in document.mentions
        if any(sentence.start <= mention.start and mention.end <= sentence.end for sentence in sentences)
    )
    return replace(document, sentences=sentences, mentions=mentions)


def has_name(text: str, names: frozenset[str]) -> bool:
    """Return whether a text has one of the names as words of its own."""
    return any(folded in names for _, _, folded in runs_of_words(text))


def recall_of(
    documents: Sequence[GoldDocument], found: Sequence[Sequence[Mention]], concepts: frozenset[str]
) -> Counter[tuple[str, str, str]]:
    """Count gold mentions of concepts by corpus and type: all, found as a span, and linked to one of their concepts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for document, mentions in zip(documents, found, strict=True):
        links: dict[tuple[int, int, str], set[str | None]] = {}
        for mention in mentions:
            links.setdefault((mention.start, mention.end, mention.entity_type), set()).add(mention.mesh_id)
        for gold in document.mentions:
            if concepts.isdisjoint(gold.concepts):
                continue
            linked = links.get((gold.start, gold.end, gold.entity_type))
            key = (document.corpus, gold.entity_type)
            counts[*key, "mentions"] += 1
            counts[*key, "found"] += linked is not None
            counts[*key, "linked"] += linked is not None and not linked.isdisjoint(gold.concepts)
    return counts


def prepare(options: argparse.Namespace) -> None:
    """Write the corpus and the pseudo-labelled text without the concepts, and their list."""
    vocabulary = Vocabulary.read(options.mesh)
    documents = read_corpus(options.corpus)
    concepts = frozenset(concept for concept in concepts_of(documents, vocabulary) if is_chosen(concept))
    names = names_of(concepts, vocabulary)
    kept = [
        without_concepts(each, concepts, names, vocabulary=vocabulary) if each.split == "train" else each
        for each in documents
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "concepts.json", json.dumps(sorted(concepts), indent=1) + "\n")
    write_corpus(kept, options.output / "corpus.parquet")
    before, after = (sum(len(each.sentences) for each in every) for every in (documents, kept))
    print(f"{len(concepts):,} concepts with {len(names):,} names; {before - after:,} of {before:,} sentences removed")
    if options.silver:
        table = pq.read_table(options.silver)
        _, tokenizer, _ = load_model(options.model, device="cpu")
        pieces = cast(list[list[int]], table.column("pieces").to_pylist())
        texts = tokenizer.batch_decode(pieces, skip_special_tokens=True)
        chosen = pa.array([not has_name(text, names) for text in texts])
        write_table(table.filter(chosen), options.output / "silver.parquet")
        print(f"{len(texts) - chosen.true_count:,} of {len(texts):,} pseudo-labelled sentences removed")


def recall(options: argparse.Namespace) -> None:
    """Print the counts of a model."""
    concepts = frozenset(json.loads(options.concepts.read_text(encoding="utf-8")))
    cascade = load_cascade(options.model, mesh=options.mesh, banks=options.model, device=options.device)
    documents = read_corpus(options.corpus, splits=options.splits.split(","))
    canonical = cascade.vocabulary.canonical
    documents = [
        replace(each, mentions=tuple(replace(m, concepts=tuple(map(canonical, m.concepts))) for m in each.mentions))
        for each in documents
    ]
    found, _ = annotate_gold(cascade, documents, progress=each_tenth(log))
    counts = recall_of(documents, found, concepts)
    for corpus, kind in sorted({key[:2] for key in counts}):
        print(json.dumps({"corpus": corpus, "type": kind} | {
            what: counts[corpus, kind, what] for what in ("mentions", "found", "linked")
        }))  # fmt: skip


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Prepare a training without some concepts, or measure their recall, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.tasks.evaluation.left_out_concepts", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, description in ((prepare, "leave concepts out of training data"), (recall, "count their mentions")):
        one = commands.add_parser(command.__name__, help=description, description=description)
        one.set_defaults(command=command)
        one.add_argument("--corpus", type=Path, required=True, help="file of e2emern corpus")
        one.add_argument("--mesh", type=Path, required=True, help="entities table")
        one.add_argument("--model", type=Path, required=True, help="model folder; of `prepare`, for its word pieces")
        if command is prepare:
            one.add_argument("--silver", type=Path, help="file of e2emern silver")
            one.add_argument("--output", type=Path, required=True, help="folder")
        else:
            one.add_argument("--concepts", type=Path, required=True, help="concepts.json of `prepare`")
            one.add_argument("--splits", required=True, help="splits to count in")
            one.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    options.command(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Gold corpora become the one Parquet file that training and evaluation read.

PubTator text holds documents with concepts; types are folded to the ones we annotate, and a document that stands
twice is kept once. Columns of tokens and B, I, O tags (`.tsv`) hold single sentences with spans of one type.

    python -m tasks.corpora ncbi-disease/train=NCBI.PubTator chemdner/train=CHEMDNER.tsv \\
        --annotates ncbi-disease=Disease --annotates chemdner=Chemical --output corpus.parquet
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from model.corpus import GoldDocument, GoldMention, write_corpus
from model.document import Annotation, Document, Sentence
from tasks.errors import SourceError
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure

from .abbreviations import find_abbreviations
from .sentences import split_sentences

_log = logging.getLogger(__name__)

_TYPES = {
    "Disease": "Disease",
    "DiseaseClass": "Disease",
    "SpecificDisease": "Disease",
    "Modifier": "Disease",
    "CompositeMention": "Disease",
    "DiseaseOrPhenotypicFeature": "Disease",
    "Chemical": "Chemical",
    "ChemicalEntity": "Chemical",
}


def read_gold(
    path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...] = ("Disease", "Chemical")
) -> Iterator[GoldDocument]:
    """Reads a gold PubTator file; `annotated_types` are the types of which it marks every mention.

    Raises:
        SourceError: the file is damaged, or one of its documents is: gold must be whole. Single annotations
            that do not fit their text are left out, with a warning in the log.
    """
    seen: set[str] = set()
    for record in parse_pubtator(path):
        if isinstance(record, Failure) and record.reason.startswith("annotation: "):
            _log.warning("%s: %s, document %s: %s", path.name, record.position, record.document_id, record.reason)
            continue
        if not isinstance(record, Document):
            raise SourceError(f"{path}: record {record.record}: {getattr(record, 'reason', 'a deletion in gold')}")
        if record.document_id in seen:
            continue
        seen.add(record.document_id)
        yield gold_document(record, corpus=corpus, split=split, annotated_types=annotated_types)


def gold_document(
    document: Document, *, corpus: str, split: str, annotated_types: tuple[str, ...] = ("Disease", "Chemical")
) -> GoldDocument:
    """Makes a gold document of one that a source annotates: types are folded, mentions of others are left out."""
    text = document.text
    return GoldDocument(
        corpus=corpus,
        split=split,
        document_id=document.document_id,
        annotated_types=annotated_types,
        text=text,
        sentences=split_sentences(document),
        abbreviations=tuple(sorted(find_abbreviations(text).items())),
        mentions=tuple(
            _mention(annotation)
            for annotation in document.annotations
            if _TYPES.get(annotation.entity_type) in annotated_types
        ),
    )


def read_tagged(path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...]) -> Iterator[GoldDocument]:
    """Reads sentences of tokens with B, I or O tags (CoNLL-2003's columns), one document a sentence.

    Tokens are joined by single spaces, the original spacing being lost. The B and I of such a file name no type, so
    it annotates one type only.

    Raises:
        SourceError: several types are named, or a line is no token and tag.
    """
    if len(annotated_types) != 1:
        raise SourceError(f"{path}: tags without types; say which one: --annotates {corpus}=Disease")
    rows = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    for filled, lines in groupby(rows, key=lambda row: bool(row[1].strip())):
        if not filled:
            continue
        number, tokens, spans, end = 0, list[str](), list[list[int]](), -1
        for number, line in lines:
            token, _, tag = line.rstrip("\n").rpartition("\t")
            if not token or tag not in {"B", "I", "O"}:
                raise SourceError(f"{path}: line {number}: found {line!r}, expected a token, a tab and B, I or O")
            start, end = end + 1, end + 1 + len(token)
            if tag == "B" or (tag == "I" and (not spans or spans[-1][1] != start - 1)):
                spans.append([start, end])
            elif tag == "I":
                spans[-1][1] = end
            tokens.append(token)
        text = " ".join(tokens)
        mentions = tuple(GoldMention(begin, last, annotated_types[0], ()) for begin, last in spans)
        yield GoldDocument(
            corpus, split, f"{path.name}:{number}", annotated_types, text, (Sentence(0, len(text), text),), (), mentions
        )


def _mention(annotation: Annotation) -> GoldMention:
    concepts = tuple(identifier for identifier in annotation.identifiers if identifier != "-1")
    return GoldMention(
        start=annotation.start,
        end=annotation.end,
        entity_type=_TYPES[annotation.entity_type],
        concepts=concepts,
        composite=len(concepts) > 1,
    )


def main(arguments: list[str] | None = None) -> int:
    """Prepares a corpus file from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tasks.corpora", description="Prepare gold corpora for training.")
    parser.add_argument("gold", nargs="+", metavar="CORPUS/SPLIT=FILE", help="a gold file and what to call it")
    parser.add_argument(
        "--annotates",
        action="append",
        default=[],
        metavar="CORPUS=TYPES",
        help="the types that a corpus marks, separated by commas, where it does not mark all: ncbi-disease=Disease",
    )
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    options = parser.parse_args(arguments)
    types = {name: tuple(kinds.split(",")) for name, _, kinds in (each.partition("=") for each in options.annotates)}
    documents: list[GoldDocument] = []
    for each in options.gold:
        called, _, path = each.partition("=")
        corpus, _, split = called.partition("/")
        if not split or not path:
            parser.error(f"{each}: expected CORPUS/SPLIT=FILE, such as bc5cdr/train=CDR.PubTator")
        marked = types.get(corpus, ("Disease", "Chemical"))
        try:
            read = read_tagged if path.endswith(".tsv") else read_gold
            found = list(read(Path(path), corpus=corpus, split=split, annotated_types=marked))
        except (SourceError, OSError, UnicodeDecodeError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        documents += found
        print(f"{called}: {len(found)} documents, {sum(len(one.mentions) for one in found)} mentions")
    write_corpus(documents, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Gold corpora in PubTator text become the one Parquet file that training and evaluation read.

Types are folded to the ones we annotate; a corpus's document that stands twice is kept once.

    python -m tasks.corpora ncbi-disease/train=NCBI.PubTator bc5cdr/train=CDR.PubTator \\
        --annotates ncbi-disease=Disease --output corpus.parquet
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from model.corpus import GoldDocument, GoldMention, write_corpus
from model.document import Annotation, Document
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
        text = record.text
        yield GoldDocument(
            corpus=corpus,
            split=split,
            document_id=record.document_id,
            annotated_types=annotated_types,
            text=text,
            sentences=split_sentences(record),
            abbreviations=tuple(sorted(find_abbreviations(text).items())),
            mentions=tuple(
                _mention(annotation)
                for annotation in record.annotations
                if _TYPES.get(annotation.entity_type) in annotated_types
            ),
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
    parser.add_argument("gold", nargs="+", metavar="CORPUS/SPLIT=FILE", help="a gold PubTator file and what to call it")
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
            found = list(read_gold(Path(path), corpus=corpus, split=split, annotated_types=marked))
        except SourceError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        documents += found
        print(f"{called}: {len(found)} documents, {sum(len(one.mentions) for one in found)} mentions")
    write_corpus(documents, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

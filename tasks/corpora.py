"""Gold corpora in PubTator text become the one Parquet file that training and evaluation read.

Types are folded to the ones we annotate; a corpus's document that stands twice is kept once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from model.corpus import GoldDocument, GoldMention
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

"""Documents whose mentions a user has corrected, dropped into a folder as PubTator files, checked before training.

A file marks every mention of those types that occur in it. Only whole documents are taken: one annotation that does not
fit would teach that its words are no mention. What is refused is told with file, place and reason, and stops nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.corpus import GoldDocument
from model.document import Document
from model.notation import ENTITY_TYPES
from model.vocabulary import Vocabulary
from tasks.errors import InputError, SourceError
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure
from tasks.passed_over import PassedOver
from tasks.training.corpora import gold_document

CORPUS = "corrections"
SPLIT = "train"


@dataclass(frozen=True, slots=True)
class Refused:
    """What is not trained on: where it stands and why. Without a document, all that follows in the file."""

    file: str
    position: str
    document_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """What a folder of corrections holds.

    Attributes:
        documents: those to train on, as split `corrections/train`.
        files: how many of them each file has, by its name.
        passed_over: annotations of other types in each file that has some, by its name and their type.
    """

    documents: tuple[GoldDocument, ...]
    files: dict[str, int]
    refused: tuple[Refused, ...]
    passed_over: dict[str, Counter[str]] = field(default_factory=dict)


def read_corrections(folder: Path | None, *, vocabulary: Vocabulary, judged: Collection[str] = ()) -> Corrections:
    """Read the files of a folder in the order of their names; no folder holds nothing.

    Refused are documents of which a line or an annotation does not fit, a concept is not in the vocabulary, nothing is
    marked, that stood in an earlier file, or whose id is `judged`: models are compared on those. Raises InputError
    where the folder is none.
    """
    if folder is None:
        return Corrections((), {}, ())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of corrections")
    taken: dict[str, GoldDocument] = {}
    places: dict[str, str] = dict.fromkeys(judged, "the documents that models are compared on")
    files: dict[str, int] = {}
    refused: list[Refused] = []
    types_passed_over: dict[str, Counter[str]] = {}
    for path in correction_files(folder):
        before = len(taken)
        good: list[GoldDocument] = []
        other_types = Counter[str]()
        for one in _read(path, vocabulary, other_types):
            if isinstance(one, Refused):
                refused.append(one)
            elif one.document_id in places:
                reason = f"is in {places[one.document_id]} too"
                refused.append(Refused(path.name, "document", one.document_id, reason))
            else:
                places[one.document_id] = path.name
                good.append(one)
        marked = {mention.entity_type for document in good for mention in document.mentions}
        types = tuple(kind for kind in ENTITY_TYPES if kind in marked)
        taken |= {document.document_id: replace(document, annotated_types=types) for document in good}
        files[path.name] = len(taken) - before
        if other_types:
            types_passed_over[path.name] = other_types
    return Corrections(tuple(taken.values()), files, tuple(refused), types_passed_over)


def correction_files(folder: Path) -> list[Path]:
    """Return the files of a folder of corrections, by name; hidden ones are none."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(path: Path, vocabulary: Vocabulary, other_types: Counter[str]) -> Iterator[GoldDocument | Refused]:
    try:
        for record in parse_pubtator(path):
            if isinstance(record, Failure):
                yield Refused(path.name, record.position, record.document_id, record.reason)
            elif isinstance(record, Document):
                yield _checked(path, record, vocabulary, other_types)
    except SourceError as error:
        yield Refused(path.name, "file", None, str(error).removeprefix(f"{path}: "))


def _checked(
    path: Path, document: Document, vocabulary: Vocabulary, other_types: Counter[str]
) -> GoldDocument | Refused:
    if document.invalid_annotations:
        invalid = document.invalid_annotations[0]
        return Refused(path.name, invalid.position, document.document_id, invalid.reason)
    passed_over = PassedOver()
    gold = gold_document(document, corpus=CORPUS, split=SPLIT, passed_over=passed_over)
    other_types.update(passed_over.types)
    unknown = [
        (mention, concept)
        for mention in gold.mentions
        for concept in mention.concepts
        if vocabulary.canonical(concept) not in vocabulary.position
    ]
    if unknown:
        mention, concept = unknown[0]
        reason = (
            f"{concept} of {gold.text[mention.start : mention.end]!r} is not a concept of MeSH {vocabulary.version}"
        )
    elif passed_over.types and not gold.mentions:
        reason = str(passed_over.reason())
    elif not gold.mentions:
        reason = "no mention of a Disease or Chemical, as of a document that nobody has read"
    else:
        return gold
    return Refused(path.name, f"record {document.record}", document.document_id, reason)

"""Read and check corrected documents: PubTator files that a user puts into a folder as training data.

A file marks every mention of the types that occur in it. A document with an invalid annotation is refused as a whole:
the model would learn that the text of that annotation is not a mention. Refused documents are reported with file, place
and reason, and do not stop the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from e2emern.model.corpus import GoldDocument
from e2emern.model.document import Document
from e2emern.model.notation import ENTITY_TYPES
from e2emern.model.training.recipe import CORRECTED
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.passed_over import PassedOver
from e2emern.tasks.training.gold import gold_document
from e2emern.warehouse.registry.corrections import correction_files

CORPUS, SPLIT = CORRECTED.split("/")


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused document, its place and the reason. Without a document id, the rest of the file is refused."""

    file: str
    position: str
    document_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """The content of a folder of corrections.

    Attributes:
        documents: the documents to train on, as split `corrections/train`.
        files: number of these documents by file name.
        file_of: file name by document id.
        passed_over: counts of annotations of other types, by file name and type.
    """

    documents: tuple[GoldDocument, ...]
    files: dict[str, int]
    refused: tuple[Refused, ...]
    passed_over: dict[str, Counter[str]] = field(default_factory=dict)
    file_of: dict[str, str] = field(default_factory=dict)


def read_corrections(folder: Path | None, *, vocabulary: Vocabulary, judged: Collection[str] = ()) -> Corrections:
    """Read the files of a folder in the order of their names; without a folder, return no corrections.

    A document is refused if a line or an annotation is invalid, a concept is not in the vocabulary, nothing is marked,
    an earlier file has the document, or its id is in `judged`, the documents that models are compared on. Raises
    InputError if the folder does not exist.
    """
    if folder is None:
        return Corrections((), {}, ())
    if not folder.is_dir():
        raise InputError("no such folder of corrections", path=folder)
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
                reason = f"is also in {places[one.document_id]}"
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
    file_of = {document_id: places[document_id] for document_id in taken}
    return Corrections(tuple(taken.values()), files, tuple(refused), types_passed_over, file_of)


def _read(path: Path, vocabulary: Vocabulary, other_types: Counter[str]) -> Iterator[GoldDocument | Refused]:
    try:
        for record in parse_pubtator(path):
            if isinstance(record, Failure):
                yield Refused(path.name, record.position, record.document_id, record.reason)
            elif isinstance(record, Document):
                yield _checked(path, record, vocabulary, other_types)
    except SourceError as error:
        yield Refused(path.name, "file", None, error.in_file)


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
        reason = "no mention of a Disease or Chemical; perhaps nobody has corrected it"
    else:
        return gold
    return Refused(path.name, f"record {document.record}", document.document_id, reason)

"""The data types of the project: a document, its passages and sentences, the mentions found in it, their candidates.

All offsets are half-open and count code points of the document's own text: `title + " " + abstract` for
PubMed and PubTator, and BioC's document offsets for BioC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of text at a place in the document: `title`, `abstract`, or a section of a full text."""

    section: str
    offset: int
    text: str

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mention annotated in the source itself: gold in a corpus, or another system's in a dump.

    Attributes:
        entity_type: as the source writes it; `model.notation` normalizes type and identifiers.
        identifiers: as the source writes them, one per element; empty if it gives none.
        line: 1-based line of a PubTator file; None in other formats and in the tables.
    """

    start: int
    end: int
    text: str
    entity_type: str
    identifiers: tuple[str, ...] = ()
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class InvalidAnnotation:
    """An annotation, a relation or another line of a document that could not be used. The document is kept.

    Attributes:
        position: its place in the input file: `line 12`, or the document's element.
        kind: what is wrong, without any value, so that equal faults can be counted: `outside the text`.
        reason: what was found and what was expected, in one line.
    """

    position: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """One record of a source, parsed."""

    document_id: str
    record: int  # 0-based position among the records of its source
    passages: tuple[Passage, ...]  # ascending offsets; empty texts are left out
    pmid: int | None = None
    version: int = 1  # PubMed's PMID Version
    journal: str | None = None
    published: str | None = None  # ISO 8601, with the precision of the source: 2021, 2021-03 or 2021-03-17
    language: str | None = None  # as the source gives it: eng
    vernacular_title: str | None = None  # the title in the language of the article; not part of the text
    abstract_type: str | None = None  # Type of the OtherAbstract that is the abstract if there is no other: PIP
    annotations: tuple[Annotation, ...] = ()
    invalid_annotations: tuple[InvalidAnnotation, ...] = ()

    @property
    def title(self) -> str:
        return " ".join(passage.text for passage in self.passages if passage.section == "title")

    @property
    def abstract(self) -> str:
        return " ".join(passage.text for passage in self.passages if passage.section == "abstract")

    @property
    def text(self) -> str:
        """The passages at their offsets, separated by spaces: `text[start:end]` is a mention's text."""
        return _lay_out((passage.offset, passage.text) for passage in self.passages)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage; `text` is the document's text from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The part of a document that the cascade reads: its sentences, and its abbreviations with their long forms."""

    sentences: Sequence[Sentence]
    abbreviations: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The sentences at their offsets, separated by spaces."""
        return _lay_out((sentence.start, sentence.text) for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Concept:
    """An entity of the vocabulary: a MeSH descriptor (D...), supplementary record (C...) or OMIM entry.

    `names[0]` is the preferred name.
    """

    mesh_id: str
    entity_type: str  # Disease or Chemical
    names: tuple[str, ...]
    record_type: str = "descriptor"  # descriptor, supplementary or omim
    tree_numbers: tuple[str, ...] = ()
    mapped_to: tuple[str, ...] = ()  # a supplementary record's descriptors

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Mention:
    """A span that the model found, and the concept it is linked to.

    `mesh_id` is None if the span was recognised but not linked. Scores are probabilities, and None if that level had
    nothing to score. `how` names the evidence that decided the link.
    """

    start: int
    end: int
    text: str
    entity_type: str
    sentence: int  # 0-based position of the sentence in the document
    ner_score: float
    mesh_id: str | None = None
    mesh_name: str | None = None
    mid_score: float | None = None
    high_score: float | None = None
    link_score: float | None = None
    how: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A concept that a span could be linked to. Scores are those of a mention with this concept.

    `link_score` is its probability among all candidates of the span and "none of them".
    """

    mesh_id: str
    mesh_name: str
    mid_score: float
    high_score: float
    link_score: float


MENTION_FIELDS = tuple(each.name for each in fields(Mention))
"""The columns that describe a mention, in every table of mentions."""


def _lay_out(pieces: Iterable[tuple[int, str]]) -> str:
    """Join pieces of text at their offsets, with spaces between."""
    parts: list[str] = []
    at = 0
    for offset, text in pieces:
        parts += [" " * (offset - at), text]
        at = offset + len(text)
    return "".join(parts)

"""An annotated text: its mentions with their scores and candidates, as plain data, and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from e2emern import highlight


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of a mention, probabilities from 0 to 1. Without a concept, only `low` is set.

    Attributes:
        low: that the span is a mention.
        mid: that its sentence mentions the concept.
        high: that the words of the span mention the concept.
        link: that the concept is the right one, from all evidence.
    """

    low: float
    mid: float | None = None
    high: float | None = None
    link: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A concept that a mention could be linked to, with the scores of the mention if it were."""

    mesh_id: str
    mesh_name: str
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A mention of a disease or chemical: `text[start:end]` of the document, offsets in code points.

    Words that name several concepts, such as "breast and ovarian cancer", give one mention for each.

    Attributes:
        type: Disease or Chemical.
        mesh_id: the MeSH or OMIM id of the concept; None if the words were recognised but not linked.
        mesh_name: the preferred name of the concept.
        how: the kind of evidence that decided the link, such as `name` or `mid`.
        candidates: the best concepts, most probable first; empty in a document of a home.
    """

    start: int
    end: int
    text: str
    type: str
    mesh_id: str | None
    mesh_name: str | None
    scores: Scores
    how: str | None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """A text and its mentions, ordered by start.

    Attributes:
        id: the document's id in its home; None for a text.
        meta: metadata from the home: title, pmid, journal, published, source.
        error: why the model could not read the text; None if it did.
    """

    text: str
    mentions: tuple[Mention, ...] = ()
    id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the document as dicts, lists, strings and numbers, ready for `json.dumps`."""
        return asdict(self) | {"mentions": [_lists(asdict(mention)) for mention in self.mentions]}

    def _repr_html_(self) -> str:
        """Return the text with its mentions marked, for display in a notebook."""
        return highlight.html_of(self.text, self.mentions, title=self.id, error=self.error)


def _lists(mention: dict[str, Any]) -> dict[str, Any]:
    return mention | {"candidates": list(mention["candidates"])}

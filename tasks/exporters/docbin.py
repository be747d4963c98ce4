"""Write spaCy's DocBin, which `spacy train` reads: entities and spans with their concepts, in spaCy's own tokens.

Format: https://spacy.io/api/docbin. spaCy is the extra `spacy`, and is imported when a document is written. A DocBin is
one message, so only this format needs memory for all documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from e2emern.model.document import Document, Mention
from e2emern.tasks.errors import InputError

if TYPE_CHECKING:
    from spacy.tokens import Doc

NAME = "e2emern"
"""Key of the spans in `doc.spans`, and name of the extension of a span that holds its mentions."""


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write all documents; `doc.text` is `document.text`. Raises InputError without spaCy."""
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError as error:
        raise InputError("docbin needs spaCy; install it with: pip install 'e2emern[spacy]'") from error
    nlp = spacy.blank("en")
    nlp.max_length = 2**31  # no limit is needed, since it only splits words
    written = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=True)
    for document, mentions in annotated:
        doc = nlp.make_doc(document.text)
        doc.user_data |= {"document_id": document.document_id, "pmid": document.pmid}
        add_mentions(doc, map(_data, mentions))
        written.add(doc)
    out.write(written.to_bytes())


def add_mentions(doc: Doc, mentions: Iterable[dict[str, Any]]) -> None:
    """Add mentions to a document of spaCy.

    Entities cannot overlap and consist of whole tokens. So `doc.spans["e2emern"]` has all mentions, and `doc.ents`
    those that overlap no earlier entity and no longer mention; a mention that cuts a token is extended to its ends. The
    most probable concept of a span is its `kb_id_`, and `span._.e2emern` has its mentions, that one first.

    Args:
        mentions: plain data, as `e2emern.Doc.to_dict` returns it.
    """
    from spacy.tokens import Span
    from spacy.util import filter_spans

    add_extension()
    spans = []
    for (start, end, kind), its in _places(mentions):
        its.sort(key=lambda one: one["scores"]["link"] or 0, reverse=True)
        place = doc.char_span(start, end, alignment_mode="expand")
        span = Span(doc, place.start, place.end, label=kind, kb_id=its[0]["mesh_id"] or "")
        span._.set(NAME, its)
        spans.append(span)
    doc.spans[NAME] = spans
    earlier = {token.i for span in doc.ents for token in span}
    free = [span for span in spans if earlier.isdisjoint(range(span.start, span.end))]
    doc.ents = [*doc.ents, *filter_spans(free)]


def add_extension() -> None:
    """Make `span._.e2emern` an empty tuple for spans without mentions."""
    from spacy.tokens import Span

    if not Span.has_extension(NAME):
        Span.set_extension(NAME, default=())


def _places(mentions: Iterable[dict[str, Any]]) -> Iterator[tuple[tuple[int, int, str], list[dict[str, Any]]]]:
    places: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for mention in mentions:
        places.setdefault((mention["start"], mention["end"], mention["type"]), []).append(mention)
    yield from places.items()


def _data(mention: Mention) -> dict[str, Any]:
    names = {"low": "ner_score", "mid": "mid_score", "high": "high_score", "link": "link_score"}
    return {
        "start": mention.start,
        "end": mention.end,
        "text": mention.text,
        "type": mention.entity_type,
        "mesh_id": mention.mesh_id,
        "mesh_name": mention.mesh_name,
        "scores": {name: getattr(mention, field) for name, field in names.items()},
        "how": mention.how,
    }

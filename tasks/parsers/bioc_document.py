"""Convert a BioC document in the shape of BioC JSON to a Document; shared by BioC XML and BioC JSON.

Format: Comeau et al., BioC: a minimalist approach to interoperability for biomedical text processing, Database 2013,
https://doi.org/10.1093/database/bat064. Offsets count code points from the document's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Passage
from e2emern.tasks.parsers.annotations import OFFSETS_ASSIGNED, InvalidAnnotationError, fitted, read_offset, shown
from e2emern.tasks.parsers.records import Failure, RecordError

MAX_GAPS = 100_000  # code points of all gaps of a document, which are held as spaces; full texts have below 1,000

_PMID = re.compile(r"[0-9]{1,18}")
_NAMED = 3  # passages named in a reason
_IDENTIFIER_KEYS = ("identifier", "mesh", "omim")

_Json = Mapping[str, object]


def read_document(raw: object, record: int, position: str) -> Iterator[Document | Failure]:
    """Yield the Document of a BioC document in the shape of BioC JSON, or a Failure without a usable id or text.

    Numbers may be strings of digits, as in XML. Other invalid parts go to `invalid_annotations`. Passages that overlap
    or have no usable offset are laid out one after another, separated by a space: see OFFSETS_ASSIGNED.
    """
    document_id = None
    try:
        if not isinstance(raw, Mapping):
            raise RecordError(f"document is {shown(str(raw))}, expected an object")
        document_id = _id(raw)
        passages = [_passage(passage, at) for at, passage in enumerate(_children(raw, "passages", required=True), 1)]
        placed, assigned = lay_out(passages)
    except RecordError as error:
        yield Failure(record, position, str(error), document_id)
        return
    document = _document(raw, document_id, record, placed)
    annotations, invalid = _annotations([Placed(raw, 0, ""), *placed], document.text, position)
    invalid += [InvalidAnnotation(position, OFFSETS_ASSIGNED, assigned)] if assigned else []
    yield replace(document, annotations=tuple(annotations), invalid_annotations=tuple(invalid))


@dataclass(slots=True)
class Placed:
    """A passage or one of its sentences at its position in the document."""

    raw: _Json
    offset: int
    text: str
    shift: int = 0  # by how much it, with its annotations, was moved from the offset in the source
    sentences: list[Placed] = field(default_factory=list)


def lay_out(passages: list[_Json]) -> tuple[list[Placed], str]:
    """Lay out passages at their own offsets if they ascend; also describe those that got another offset, or return "".

    Raises RecordError if a text cannot be used.
    """
    placed: list[Placed] = []
    moved: list[str] = []
    end = None  # of the last passage that has a text
    room = MAX_GAPS
    for at, raw in enumerate(passages, 1):
        text = _string(raw, "text")
        sentences = _sentences(raw, at) if not text else []
        given = _offset(raw)
        if given is None and sentences:
            given = _offset(sentences[0][0])
        offset = _free(given, end, room)
        passage = Placed(raw, offset, text, offset - given if given is not None else 0)
        for number, (sentence, words) in enumerate(sentences, 1):
            own = _offset(sentence)
            before = offset + len(passage.text)
            start = _free(None if own is None else own + passage.shift, before, room, first=number == 1)
            room -= start - before
            passage.text = passage.text.ljust(start - offset) + words
            passage.sentences.append(Placed(sentence, start, words, start - own if own is not None else 0))
            if own is None or start != own + passage.shift:
                moved.append(f"sentence {number} of passage {at}")
        placed.append(passage)
        if passage.text.strip():
            room -= offset - (end or 0)
            end = offset + len(passage.text)
            if offset != given:
                moved.append(f"passage {at}")
    return placed, _in_words(moved)


def _free(given: int | None, end: int | None, room: int, *, first: bool = False) -> int:
    """Return an offset, or if it is unusable, the offset after the text before and a space.

    An offset is unusable if it is missing, overlaps the text before, or leaves a gap of more than `room` code points.
    """
    if given is not None and 0 <= given - (end or 0) <= room:
        return given
    return 0 if end is None else end + (not first)


def _in_words(moved: list[str]) -> str:
    if not moved:
        return ""
    more = f" and {len(moved) - _NAMED:,} more" if len(moved) > _NAMED else ""
    which = f"{', '.join(moved[:_NAMED])}{more}"
    return f"{which}: no usable offset, an overlap or a large gap; laid out after the text before"


def _sentences(passage: _Json, at: int) -> list[tuple[_Json, str]]:
    found = []
    for number, sentence in enumerate(_children(passage, "sentences"), 1):
        if not isinstance(sentence, Mapping):
            raise RecordError(f"sentence {number} of passage {at} is {shown(str(sentence))}, expected an object")
        found.append((sentence, _string(sentence, "text")))
    return found


def _document(raw: _Json, document_id: str, record: int, placed: list[Placed]) -> Document:
    passages = tuple(Passage(_section(each.raw), each.offset, each.text) for each in placed if each.text.strip())
    infons: dict[str, str] = {}
    for holder in [*(each.raw for each in reversed(placed)), raw]:  # the document's own win, then the first passage's
        infons.update(_infons(holder))
    # LitCovid has these three next to the infons
    infons.update({key: str(raw[key]) for key in ("pmid", "journal", "year") if raw.get(key)})
    year = infons.get("year", "")
    return Document(
        document_id=document_id,
        record=record,
        passages=passages,
        pmid=_pmid(document_id, infons, {passage.section for passage in passages}),
        journal=infons.get("journal", "").split(";")[0].strip() or None,
        published=year if re.fullmatch(r"[0-9]{4}", year) else None,
    )


def _pmid(document_id: str, infons: Mapping[str, str], sections: set[str]) -> int | None:
    """Read the PMID; the id of an abstract is its PMID, while the id of a full text is its PMC id."""
    for given in (infons.get("pmid", ""), infons.get("article-id_pmid", "")):
        if _PMID.fullmatch(given):
            return int(given)
    is_pmc = infons.get("article-id_pmc", "").removeprefix("PMC") == document_id
    if _PMID.fullmatch(document_id) and sections and sections <= {"title", "abstract"} and not is_pmc:
        return int(document_id)
    return None


def _section(passage: _Json) -> str:
    infons = _infons(passage)
    section = (infons.get("section_type") or infons.get("type", "")).strip().lower()
    return "title" if section == "front" else section


def _passage(raw: object, at: int) -> _Json:
    if not isinstance(raw, Mapping):
        raise RecordError(f"passage {at} is {shown(str(raw))}, expected an object")
    return raw


def _annotations(holders: list[Placed], text: str, position: str) -> tuple[list[Annotation], list[InvalidAnnotation]]:
    """Read the annotations of a document, its passages and their sentences: the valid ones, and the invalid ones."""
    annotations: list[Annotation] = []
    invalid: list[InvalidAnnotation] = []
    for holder in holders:
        if not isinstance(holder.raw.get("infons") or {}, Mapping):
            reason = f"infons: found {shown(str(holder.raw['infons']))}, expected an object"
            invalid.append(InvalidAnnotation(position, "malformed infons", reason))
        for part in [holder, *(holder.sentences or _unplaced_sentences(holder))]:
            try:
                raws = _children(part.raw, "annotations")
            except RecordError as error:
                invalid.append(InvalidAnnotation(position, "malformed annotation", str(error)))
                continue
            for raw in raws:
                try:
                    annotations.append(_annotation(raw, text, shift=part.shift))
                except InvalidAnnotationError as error:
                    invalid.append(error.at(position))
                except RecordError as error:
                    invalid.append(InvalidAnnotation(position, "malformed annotation", str(error)))
    return sorted(annotations, key=lambda annotation: (annotation.start, annotation.end)), invalid


def _unplaced_sentences(passage: Placed) -> list[Placed]:
    """Return the sentences of a passage that has its own text; they only hold annotations."""
    found = passage.raw.get("sentences")
    sentences = found if isinstance(found, list) else []
    return [Placed(each, passage.offset, "", passage.shift) for each in sentences if isinstance(each, Mapping)]


def _annotation(raw: object, text: str, *, shift: int) -> Annotation:
    """Read an annotation; several locations become one from the first start to the last end, if its text is there."""
    if not isinstance(raw, Mapping):
        raise RecordError(f"found {shown(str(raw))}, expected an object")
    mention = _string(raw, "text")
    spans = []
    for location in _children(raw, "locations"):
        if not isinstance(location, Mapping):
            raise RecordError(f"location of {shown(mention)} is {shown(str(location))}, expected an object")
        start = read_offset(location.get("offset")) + shift
        spans.append((start, start + read_offset(location.get("length"))))
    if not spans:
        raise RecordError(f"{shown(mention)} has no location")
    if not isinstance(raw.get("infons") or {}, Mapping):
        raise RecordError(f"infons of {shown(mention)}: found {shown(str(raw['infons']))}, expected an object")
    infons = {key.lower(): value for key, value in _infons(raw).items()}
    identifier = next((infons[key] for key in _IDENTIFIER_KEYS if infons.get(key)), "")
    start, end = min(spans)[0], max(end for _, end in spans)
    if len(spans) > 1 and text[max(start, 0) : end] != mention:
        raise InvalidAnnotationError("discontinuous offsets", f"{shown(mention)} has {len(spans)} locations")
    return fitted(start, end, mention, infons.get("type", ""), identifier, text=text)


def _id(raw: _Json) -> str:
    found = raw.get("id")
    if not isinstance(found, str | int) or not str(found).strip():
        raise RecordError("document without id")
    return str(found).strip()


def _children(raw: _Json, key: str, *, required: bool = False) -> list[object]:
    found = raw.get(key)
    if found is None and not required:
        return []
    if not isinstance(found, list):
        raise RecordError(f"{key}: found {shown(str(found))}, expected a list")
    return found


def _string(raw: _Json, key: str) -> str:
    found = raw.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise RecordError(f"{key}: found {shown(str(found))}, expected a text")
    return found


def _infons(raw: _Json) -> dict[str, str]:
    found = raw.get("infons")
    if not isinstance(found, Mapping):
        return {}
    return {key: str(value) for key, value in found.items() if value is not None}


def _offset(raw: _Json) -> int | None:
    try:
        found = read_offset(raw.get("offset"))
    except InvalidAnnotationError:
        return None
    return found if found >= 0 else None

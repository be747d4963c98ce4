"""What BioC XML and BioC JSON share: a document in the shape of BioC JSON becomes a Document.

Format: Comeau et al., BioC: a minimalist approach to interoperability for biomedical text processing, Database 2013,
https://doi.org/10.1093/database/bat064. Offsets count code points from the document's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from model.document import Annotation, Document, InvalidAnnotation, Passage
from tasks.parsers.annotations import InvalidAnnotationError, fitted, shown
from tasks.parsers.records import Failure, RecordError

MAX_OFFSET = 20_000_000  # code points; the gaps between passages are held as spaces

_NUMBER = re.compile(r"[0-9]{1,9}")
_PMID = re.compile(r"[0-9]{1,18}")
_IDENTIFIER_KEYS = ("identifier", "mesh", "omim")

_Json = Mapping[str, object]


def read_document(raw: object, record: int, position: str) -> Iterator[Document | Failure]:
    """Yield the Document of a BioC document in the shape of BioC JSON, or a Failure where it is malformed.

    Numbers may be digits, as in XML. Annotations that cannot be used are in `invalid_annotations`.
    """
    document_id = None
    try:
        if not isinstance(raw, Mapping):
            raise RecordError(f"document is {shown(str(raw))}, expected an object")
        document_id = _id(raw)
        passages = [_passage(passage, at) for at, passage in enumerate(_children(raw, "passages", required=True), 1)]
        document = _document(raw, document_id, record, passages)
        annotations, invalid = _annotations([raw, *passages], document.text, position)
    except RecordError as error:
        yield Failure(record, position, str(error), document_id)
        return
    yield replace(document, annotations=tuple(annotations), invalid_annotations=tuple(invalid))


def _document(raw: _Json, document_id: str, record: int, raw_passages: list[_Json]) -> Document:
    passages: list[Passage] = []
    for at, raw_passage in enumerate(raw_passages, 1):
        offset, text = _placed_text(raw_passage, f"passage {at}")
        if not text.strip():
            continue
        if passages and offset < passages[-1].end:
            raise RecordError(
                f"passage {at} starts at {offset}, before the end of the passage before it, {passages[-1].end}"
            )
        passages.append(Passage(_section(raw_passage), offset, text))
    infons: dict[str, str] = {}
    for holder in [*reversed(raw_passages), raw]:  # the document's own win, then the first passage's
        infons.update(_infons(holder))
    # LitCovid gives these three beside the infons
    infons.update({key: str(raw[key]) for key in ("pmid", "journal", "year") if raw.get(key)})
    year = infons.get("year", "")
    return Document(
        document_id=document_id,
        record=record,
        passages=tuple(passages),
        pmid=_pmid(document_id, infons, {passage.section for passage in passages}),
        journal=infons.get("journal", "").split(";")[0].strip() or None,
        published=year if re.fullmatch(r"[0-9]{4}", year) else None,
    )


def _pmid(document_id: str, infons: Mapping[str, str], sections: set[str]) -> int | None:
    """Read the PMID; a document's id is one where it is an abstract, while full texts have their PMC id there."""
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


def _placed_text(passage: _Json, what: str) -> tuple[int, str]:
    """Return a passage's offset and text; the text of its sentences, laid out at their offsets, where it has none."""
    offset = _number(passage, "offset", what)
    text = _string(passage, "text")
    if not text:
        for at, sentence in enumerate(_children(passage, "sentences"), 1):
            if not isinstance(sentence, Mapping):
                raise RecordError(f"sentence {at} of {what} is {shown(str(sentence))}, expected an object")
            start = _number(sentence, "offset", f"sentence {at} of {what}")
            if start < offset + len(text):
                raise RecordError(f"sentence {at} of {what} starts at {start}, before {offset + len(text)}")
            text = text.ljust(start - offset) + _string(sentence, "text")
    return offset, text


def _annotations(holders: list[_Json], text: str, position: str) -> tuple[list[Annotation], list[InvalidAnnotation]]:
    """Read the annotations of the document, its passages and their sentences: those that fit, and why others do not."""
    annotations: list[Annotation] = []
    invalid: list[InvalidAnnotation] = []
    for holder in holders:
        sentences = [s for s in _children(holder, "sentences") if isinstance(s, Mapping)]
        for raw in [a for part in [holder, *sentences] for a in _children(part, "annotations")]:
            try:
                annotations.append(_annotation(raw, text))
            except InvalidAnnotationError as error:
                invalid.append(error.at(position))
            except RecordError as error:
                invalid.append(InvalidAnnotation(position, "malformed annotation", str(error)))
    return sorted(annotations, key=lambda annotation: (annotation.start, annotation.end)), invalid


def _annotation(raw: object, text: str) -> Annotation:
    """Read an annotation; several locations make one from the first start to the last end, if its text stands there."""
    if not isinstance(raw, Mapping):
        raise RecordError(f"found {shown(str(raw))}, expected an object")
    mention = _string(raw, "text")
    spans = []
    for location in _children(raw, "locations"):
        if not isinstance(location, Mapping):
            raise RecordError(f"location of {shown(mention)} is {shown(str(location))}, expected an object")
        start = _number(location, "offset", f"location of {shown(mention)}")
        spans.append((start, start + _number(location, "length", f"location of {shown(mention)}")))
    if not spans:
        raise RecordError(f"{shown(mention)} has no location")
    infons = {key.lower(): value for key, value in _infons(raw).items()}
    identifier = next((infons[key] for key in _IDENTIFIER_KEYS if infons.get(key)), "")
    start, end = min(spans)[0], max(end for _, end in spans)
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
    if not found:
        return {}
    if not isinstance(found, Mapping):
        raise RecordError(f"infons: found {shown(str(found))}, expected an object")
    return {key: str(value) for key, value in found.items() if value is not None}


def _number(raw: _Json, key: str, what: str) -> int:
    found = raw.get(key)
    written = "" if found is None or isinstance(found, bool | float) else str(found).strip()
    if not _NUMBER.fullmatch(written) or int(written) > MAX_OFFSET:
        raise RecordError(f"{what}: {key} is {shown(str(found))}, expected a number from 0 to {MAX_OFFSET}")
    return int(written)

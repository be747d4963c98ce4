"""Parse our own export in JSON lines: the documents, and the annotations of their sources.

Format: `tasks.exporters.jsonl`, described in docs/exports.md. `mentions` were found by a model and are skipped, since
annotation finds them again. Unknown keys are skipped, too.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import ijson

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Passage
from e2emern.tasks.parsers.annotations import OFFSETS_ASSIGNED, InvalidAnnotationError, fitted, read_offset, shown
from e2emern.tasks.parsers.bioc_document import lay_out
from e2emern.tasks.parsers.foreign import not_utf8
from e2emern.tasks.parsers.records import Failure, Record, RecordError
from e2emern.tasks.parsers.source_reader import Input, open_source

_HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair, which UTF-8 cannot hold
_Json = Mapping[str, object]


def parse_jsonl(path: Input) -> Iterator[Record]:
    """Yield the record of each line in order: a Document, or a Failure without a usable id or text.

    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    for record, number, line in json_rows(path):
        yield _read(line, record, f"line {number}")


def json_rows(path: Input) -> Iterator[tuple[int, int, bytes]]:
    """Yield record number (from 0), line number (from 1) and content of each non-blank line. Raises SourceError."""
    with open_source(path, expected="JSON lines") as source:
        lines = ((number, line) for number, line in source.raw_lines() if line.removeprefix(codecs.BOM_UTF8).strip())
        for record, (number, line) in enumerate(lines):
            yield record, number, line


def first_keys(start: bytes) -> list[str]:
    """Return the keys of the first JSON object of a content, which may be cut."""
    found: list[str] = []
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, multiple_values=True)
    with suppress(
        ijson.JSONError, ValueError, ArithmeticError, StopIteration
    ):  # the events before the damage are enough
        parser.send(start)
    depth = 0
    for event, value in events:
        depth += event.startswith("start_") - event.startswith("end_")
        if depth == 1 and event == "map_key":
            found.append(str(value))
        if depth == 0:
            break
    return found


def _read(line: bytes, record: int, position: str) -> Document | Failure:
    document_id = None
    try:
        raw = json_object(line)
        given = _text(raw, "document_id")
        if not given or not given.strip():
            raise RecordError("line without document_id")
        document_id = given
        return _document(raw, document_id, record, position)
    except RecordError as error:
        return Failure(record, position, str(error), document_id)


def json_object(line: bytes) -> Mapping[str, object]:
    """Return the JSON object of a line; half of a surrogate pair becomes U+FFFD. Raises RecordError."""
    try:
        raw = json.loads(line.decode("utf-8-sig"))
        if _HALF.search(text := json.dumps(raw, ensure_ascii=False)):
            raw = json.loads(_HALF.sub("\ufffd", text))
    except UnicodeDecodeError as error:
        raise RecordError(not_utf8(line, error.start)) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not a JSON value ({error}); one document is expected on each line") from error
    if not isinstance(raw, Mapping):
        raise RecordError(f"found {shown(str(raw))}, expected an object")
    return raw


def _document(raw: _Json, document_id: str, record: int, position: str) -> Document:
    found = raw.get("passages")
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise RecordError(f"passages: found {shown(str(found))}, expected a list of objects")
    placed, assigned = lay_out(found)
    document = Document(
        document_id=document_id,
        record=record,
        passages=tuple(
            Passage(str(each.raw.get("section") or ""), each.offset, each.text) for each in placed if each.text.strip()
        ),
        pmid=_number(raw, "pmid"),
        version=_number(raw, "version") or 1,
        journal=_text(raw, "journal"),
        published=_text(raw, "published"),
        language=_text(raw, "language"),
        vernacular_title=_text(raw, "vernacular_title"),
        abstract_type=_text(raw, "abstract_type"),
    )
    annotations: list[Annotation] = []
    invalid = _invalid(raw)
    given = raw.get("annotations") or []
    for each in given if isinstance(given, list) else [given]:
        try:
            annotations.append(_annotation(each, document.text))
        except InvalidAnnotationError as error:
            invalid.append(error.at(position))
    if assigned:
        invalid.append(InvalidAnnotation(position, OFFSETS_ASSIGNED, assigned))
    return replace(document, annotations=tuple(annotations), invalid_annotations=tuple(invalid))


def _annotation(raw: object, text: str) -> Annotation:
    if not isinstance(raw, Mapping):
        raise InvalidAnnotationError("malformed annotation", f"found {shown(str(raw))}, expected an object")
    start, end = read_offset(raw.get("start")), read_offset(raw.get("end"))
    words, entity_type = (str(raw.get(key) or "") for key in ("text", "entity_type"))
    identifiers = tuple(str(each) for each in _list(raw, "identifiers"))
    return replace(fitted(start, end, words, entity_type, "", text=text), identifiers=identifiers)


def _invalid(raw: _Json) -> list[InvalidAnnotation]:
    """Read the invalid annotations of the source itself; their positions are those of its own lines."""
    found = [each for each in _list(raw, "invalid_annotations") if isinstance(each, Mapping)]
    return [InvalidAnnotation(*(str(each.get(key) or "") for key in ("position", "kind", "reason"))) for each in found]


def _list(raw: _Json, key: str) -> list[object]:
    found = raw.get(key)
    return found if isinstance(found, list) else []


def _number(raw: _Json, key: str) -> int | None:
    found = raw.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 10**18 else None


def _text(raw: _Json, key: str) -> str | None:
    found = raw.get(key)
    return found if isinstance(found, str) else None

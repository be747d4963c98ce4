"""Export annotated documents as PubTator, BioC XML, BioC JSON or JSON lines, in constant memory.

The file is written under a temporary name and renamed when complete, so a reader never sees half of it. Nothing is
dropped silently. A document that the format cannot hold stops the export, or is skipped and counted on request. A
character that the format forbids is replaced by one other character, so that offsets stay valid, and its document is
counted.
"""

from __future__ import annotations

import gzip
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from e2emern.model.document import MENTION_FIELDS, Annotation, Document, InvalidAnnotation, Mention, Passage
from e2emern.tasks.concept_filter import keep_links
from e2emern.tasks.errors import InputError
from e2emern.tasks.exporters import bioc, jsonl, pubtator
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.documents import annotated_rows

Annotated = tuple[Document, list[Mention]]


@dataclass(slots=True)
class Exported:
    """Counts of an export: documents and mentions written, documents skipped and altered."""

    documents: int = 0
    mentions: int = 0
    skipped: int = 0  # documents that the format cannot hold
    altered: int = 0  # documents written with forbidden characters replaced, one for one


@dataclass(frozen=True, slots=True)
class _Format:
    """The writer of a format, and what the format cannot hold."""

    write: Callable[[Iterable[Annotated], BinaryIO], None]
    unfit: Callable[[Document], str | None] = lambda document: None
    forbidden: re.Pattern[str] | None = None
    substitute: str = ""


_FORMATS = {
    "pubtator": _Format(pubtator.write, pubtator.unfit, pubtator.FORBIDDEN, pubtator.SUBSTITUTE),
    "bioc-xml": _Format(bioc.write_xml, forbidden=bioc.FORBIDDEN_IN_XML, substitute=bioc.SUBSTITUTE_IN_XML),
    "bioc-json": _Format(bioc.write_json),
    "jsonl": _Format(jsonl.write),
}
FORMATS = tuple(_FORMATS)


def read_annotated(home: Home, *, selected: Container[str] | None = None) -> Iterator[Annotated]:
    """Yield the documents of the current snapshot with their mentions, ordered by source and record.

    If ids are selected, mentions of other concepts lose their concept (`tasks.concept_filter.keep_links`).

    Raises:
        WarehouseError: nothing was published, or a file of the snapshot cannot be read.
    """
    for row in annotated_rows(home):
        mentions = [Mention(**{name: each[name] for name in MENTION_FIELDS}) for each in row["mentions"]]
        yield _document(row), mentions if selected is None else keep_links(mentions, selected)


def export(annotated: Iterable[Annotated], output: str | Path, *, form: str, skip_full_text: bool = False) -> Exported:
    """Write annotated documents to a file and count them.

    An `output` that ends in `.gz` is compressed; `-` is standard output. `form` is one of FORMATS. PubTator holds only
    a title and an abstract: with `skip_full_text`, other documents are skipped and counted.

    Raises:
        InputError: the format is unknown, it cannot hold a document, a mention is not in its document's text,
            or the file cannot be written.
    """
    if form not in _FORMATS:
        raise InputError(f"unknown export format {form!r}: expected one of {', '.join(FORMATS)}")
    counts = Exported()
    try:
        with _opened(output) as out:
            _FORMATS[form].write(_prepared(annotated, form, skip_full_text, counts), out)
    except BrokenPipeError:  # the reader of standard output has closed it
        raise
    except OSError as error:
        raise InputError(f"cannot write the export: {error.strerror or error}", path=output) from error
    return counts


def _document(row: Mapping[str, Any]) -> Document:
    return Document(
        document_id=row["document_id"],
        record=row["record"],
        passages=tuple(Passage(**passage) for passage in row["passages"]),
        pmid=row["pmid"],
        version=row["version"],
        journal=row["journal"],
        published=row["published"],
        language=row["language"],
        annotations=tuple(
            Annotation(one["start"], one["end"], one["text"], one["entity_type"], tuple(one["identifiers"]))
            for one in row["annotations"]
        ),
        invalid_annotations=tuple(InvalidAnnotation(**each) for each in row["invalid_annotations"]),
    )


def _prepared(annotated: Iterable[Annotated], form: str, skip: bool, counts: Exported) -> Iterator[Annotated]:
    """Check, clean and count the documents before the writer gets them."""
    rules = _FORMATS[form]
    for document, mentions in annotated:
        _check(document, mentions)
        reason = rules.unfit(document)
        if reason and not skip:
            raise InputError(
                f"document {document.document_id} (record {document.record}) has {reason}, which {form} cannot hold: "
                "export to bioc-xml, bioc-json or jsonl, or pass --skip-full-text to leave such documents out"
            )
        if reason:
            counts.skipped += 1
            continue
        written = document, mentions
        if rules.forbidden:
            written = _cleaned(document, mentions, rules.forbidden, rules.substitute)
        counts.altered += written != (document, mentions)
        counts.documents += 1
        counts.mentions += len(mentions)
        yield written


def _check(document: Document, mentions: list[Mention]) -> None:
    """Check that every mention lies in a passage with its exact text. Raises InputError."""
    offsets = [passage.offset for passage in document.passages]
    for mention in mentions:
        at = bisect_right(offsets, mention.start) - 1  # the passage in which it begins
        passage = document.passages[at] if at >= 0 else None
        found = None
        if passage and mention.end <= passage.end:
            found = passage.text[mention.start - passage.offset : mention.end - passage.offset]
        if found != mention.text:
            raise InputError(
                f"document {document.document_id} (record {document.record}) has {found!r} at "
                f"{mention.start}:{mention.end}, expected the mention {mention.text!r}: annotate its source again"
            )


def _cleaned(document: Document, mentions: list[Mention], forbidden: re.Pattern[str], substitute: str) -> Annotated:
    """Replace forbidden characters one for one in everything that is written."""

    def clean(text: str) -> str:
        return forbidden.sub(substitute, text)

    def clean_or_none(text: str | None) -> str | None:
        return None if text is None else clean(text)

    passages = tuple(replace(each, section=clean(each.section), text=clean(each.text)) for each in document.passages)
    cleaned = replace(
        document,
        document_id=clean(document.document_id),
        journal=clean_or_none(document.journal),
        published=clean_or_none(document.published),
        language=clean_or_none(document.language),
        passages=passages,
    )
    return cleaned, [replace(each, text=clean(each.text), mesh_name=clean_or_none(each.mesh_name)) for each in mentions]


@contextmanager
def _opened(output: str | Path) -> Iterator[BinaryIO]:
    """Open a file that is committed only if the block succeeds, or standard output for `-`."""
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    with atomic_write(path) as file:
        if path.suffix == ".gz":
            # No name and no time in the header: the same documents give the same bytes.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield file

"""Export annotated documents, or their mentions as a table, in constant memory (except `docbin`).

The file is written under a temporary name and renamed when complete, so a reader never sees half of it. Nothing is
dropped silently. A document that the format cannot represent stops the export, or is skipped and counted on request.
A character that the format forbids is replaced by one other character, so that offsets stay valid, and its document
is counted. Mentions that a format of tags cannot represent, because they overlap others, are counted too.
"""

from __future__ import annotations

import gzip
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from e2emern.model.document import MENTION_FIELDS, Annotation, Document, InvalidAnnotation, Mention, Passage
from e2emern.tasks.concept_filter import keep_links
from e2emern.tasks.errors import InputError
from e2emern.tasks.exporters import bioc, brat, conll, docbin, jsonl, pubtator, table
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.documents import annotated_row, annotated_rows

Annotated = tuple[Document, list[Mention]]
Tabled = tuple[Document, list[table.Row]]


@dataclass(slots=True)
class Exported:
    """Counts of an export: documents and mentions written, documents skipped and altered."""

    documents: int = 0
    mentions: int = 0
    skipped: int = 0  # documents that the format cannot represent
    altered: int = 0  # documents written with forbidden characters replaced, one for one, or formulas guarded
    overlapping: int = 0  # mentions left out because they overlap longer ones


@dataclass(frozen=True, slots=True)
class _Format:
    """The writer of a format, and the limits of the format."""

    write: Callable[[Iterable[Annotated], BinaryIO], None]
    unfit: Callable[[Document], str | None] = lambda document: None
    forbidden: re.Pattern[str] | None = None
    substitute: str = ""
    flat: bool = False  # it has one tag for each token


_FORMATS = {
    "pubtator": _Format(pubtator.write, pubtator.unfit, pubtator.FORBIDDEN, pubtator.SUBSTITUTE),
    "bioc-xml": _Format(bioc.write_xml, forbidden=bioc.FORBIDDEN_IN_XML, substitute=bioc.SUBSTITUTE_IN_XML),
    "bioc-json": _Format(bioc.write_json),
    "jsonl": _Format(jsonl.write),
    "brat": _Format(brat.write, forbidden=brat.FORBIDDEN, substitute=brat.SUBSTITUTE),
    "conll": _Format(conll.write, conll.unfit, flat=True),
    "docbin": _Format(docbin.write),
}
FORMATS = tuple(_FORMATS)
TABLES = tuple(table.WRITERS)


def read_annotated(
    home: Home, *, selected: Container[str] | None = None, min_score: float | None = None
) -> Iterator[Annotated]:
    """Yield the documents of the current snapshot with their mentions, ordered by source and record.

    If ids are selected, mentions of other concepts lose their concept (`tasks.concept_filter.keep_links`). With a
    `min_score`, mentions with a smaller link score, or none, are left out.

    Raises:
        WarehouseError: nothing was published, or a file of the snapshot cannot be read.
    """
    for _row, document, mentions in _read(home, selected, min_score):
        yield document, mentions


def read_tabled(
    home: Home, *, selected: Container[str] | None = None, min_score: float | None = None
) -> Iterator[Tabled]:
    """Yield the same documents and mentions as `read_annotated`, the mentions as rows of the view."""
    for row, document, mentions in _read(home, selected, min_score):
        origin = {"document_id": document.document_id, "pmid": document.pmid}
        origin |= {name: row[name] for name in ("source", "record")}
        versions = {name: row["mentions"][0][name] for name in ("model_version", "mesh_version") if mentions}
        yield document, [{**origin, **versions, **asdict(mention)} for mention in mentions]


def read_one(home: Home, document_id: str, *, min_score: float | None = None) -> Annotated | None:
    """Return one document of the current snapshot with its mentions, as `read_annotated`; None if it is not shown."""
    row = annotated_row(home, document_id)
    return (_document(row), _mentions(row, min_score=min_score)) if row else None


def export(annotated: Iterable[Annotated], output: str | Path, *, form: str, skip_full_text: bool = False) -> Exported:
    """Write annotated documents to a file and count them.

    An `output` that ends in `.gz` is compressed; `-` is standard output. `form` is one of FORMATS. PubTator holds only
    a title and an abstract: with `skip_full_text`, other documents are skipped and counted. brat has several files:
    they are written to a new folder, or to an archive if `output` ends in `.tar` or `.gz`, or is `-`.

    Raises:
        InputError: the format is unknown, it cannot represent a document, a mention is not in its document's text,
            the file cannot be written, or `docbin` is asked for without spaCy.
    """
    if form not in _FORMATS:
        raise InputError(f"unknown export format {form!r}: expected one of {', '.join(FORMATS)}")
    counts = Exported()
    prepared = _prepared(annotated, form, skip_full_text, counts)
    with _written(output):
        if form == "brat" and not re.search(r"(^-|\.tar|\.gz|\.tgz)$", str(output)):
            brat.write_folder(prepared, Path(output))
        else:
            with _opened(output) as out:
                _FORMATS[form].write(prepared, out)
    return counts


def export_table(tabled: Iterable[Tabled], output: str | Path, *, form: str) -> Exported:
    """Write a table with a row for each mention to a file, and count documents and mentions.

    `form` is one of TABLES, `output` as in `export`.

    Raises:
        InputError: a mention is not in its document's text, or the file cannot be written.
    """
    write, change = table.WRITERS[form]
    counts = Exported()

    def rows() -> Iterator[table.Row]:
        for document, mentions in tabled:
            _check(document, [Mention(**{name: row[name] for name in MENTION_FIELDS}) for row in mentions])
            written = list(map(change, mentions)) if change else mentions
            counts.documents += 1
            counts.mentions += len(mentions)
            counts.altered += written != mentions
            yield from written

    with _written(output), _opened(output) as out:
        write(rows(), out)
    return counts


def _read(
    home: Home, selected: Container[str] | None, min_score: float | None
) -> Iterator[tuple[Mapping[str, Any], Document, list[Mention]]]:
    for row in annotated_rows(home):
        yield row, _document(row), _mentions(row, selected=selected, min_score=min_score)


def _mentions(
    row: Mapping[str, Any], *, selected: Container[str] | None = None, min_score: float | None = None
) -> list[Mention]:
    mentions = [Mention(**{name: each[name] for name in MENTION_FIELDS}) for each in row["mentions"]]
    if selected is not None:
        mentions = keep_links(mentions, selected)
    if min_score is None:
        return mentions
    least = float(np.float32(min_score))  # as the tables store scores
    return [one for one in mentions if one.link_score is not None and one.link_score >= least]


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
                f"document {document.document_id} (record {document.record}) has {reason}, which {form} cannot "
                "represent: export to bioc-xml, bioc-json or jsonl, or leave such documents out with --skip-full-text"
            )
        if reason:
            counts.skipped += 1
            continue
        if rules.flat:
            kept = conll.without_overlaps(mentions)
            counts.overlapping += len(mentions) - len(kept)
            mentions = kept
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
    """Replace forbidden characters one for one in all text that is written."""

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
def _written(output: str | Path) -> Iterator[None]:
    """Turn an error of the operating system in the block into one of ours."""
    try:
        yield
    except BrokenPipeError:  # the reader of standard output has closed it
        raise
    except OSError as error:
        raise InputError(f"{output}: cannot write the export: {error.strerror or error}") from error


@contextmanager
def _opened(output: str | Path) -> Iterator[BinaryIO]:
    """Open a file that is committed only if the block succeeds, or standard output for `-`."""
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    with atomic_write(path) as file:
        if path.suffix in (".gz", ".tgz"):
            # No name and no time in the header: the same documents give the same bytes.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield file

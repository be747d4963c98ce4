"""Link the stored mentions of one source to another version of MeSH, without detecting mentions again.

A document is relinked as a whole if the change affects one of its mentions, since mentions depend on each other
(abbreviations, repeats). All other rows are reused. The mentions file is committed last, as in annotation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from e2emern.model.document import MENTION_FIELDS, Document, Mention
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import read_documents, text_of
from e2emern.tasks.isolate import map_isolating_failures
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.mesh.changes import MeshChanges
from e2emern.warehouse.parquet import TableWriter, read_batches, verify_pages
from e2emern.warehouse.schemas import FAILURES, MENTIONS
from e2emern.warehouse.sources.counts import read_source_summary

_PLACE = itemgetter("start", "end", "entity_type")
_UNLINKED = dict.fromkeys(("mesh_id", "mesh_name", "mid_score", "high_score", "link_score", "how"))

_Row = dict[str, Any]
_Stored = tuple[Document, list[_Row]]  # a document and the rows of its mentions


@dataclass(frozen=True, slots=True, kw_only=True)
class Relinked:
    """Counts of one source: rows of mentions in total, and documents and spans that were linked again."""

    mentions: int
    documents: int = 0
    spans: int = 0
    changed: int = 0  # spans that changed their concept or lost it
    unread: int = 0  # documents that the model could not read: only concepts missing from the new version are removed


def relink_source(
    key: SourceKey,
    *,
    home: Home,
    changes: MeshChanges,
    old: Versions,
    cascade: Callable[[], Cascade],
) -> Relinked:
    """Write the mentions of a source under the new version of MeSH, from those under the old one.

    `cascade` loads the model with the new vocabulary; it is called only if a mention has to be linked. Raises
    WarehouseError if files of the source cannot be read.
    """
    before = home.mentions(key, old)
    verify_pages(before)  # DuckDB reads it below
    versions = replace(old, mesh=changes.new)
    records = changes.touched(before)
    summary = read_source_summary(before)
    tally = Relinked(mentions=0)
    with tempfile.TemporaryDirectory(dir=changes.folder) as folder:
        fresh = Path(folder) / "fresh.parquet"
        with TableWriter(fresh, MENTIONS) as writer:
            if records:
                for stored in _documents(home.documents(key), before, set(records)):
                    rows, tally = _relinked(stored, cascade(), tally)
                    writer.append([row | versions.columns for row in rows])
        with (
            TableWriter(home.mentions(key, versions), MENTIONS, metadata=summary.to_metadata()) as mentions,
            TableWriter(home.unread(key, versions), FAILURES) as unread,
        ):
            for batch in read_batches(home.unread(key, old)):
                unread.append(batch)
            for batch in changes.carried(before, records=records, fresh=fresh):
                mentions.append(batch)
    return replace(tally, mentions=mentions.rows)


def _documents(documents: Path, mentions: Path, records: set[int]) -> Iterator[list[_Stored]]:
    """Yield the documents of some records in lists of bounded length, each with the rows of its mentions.

    All rows are read at once: a mentions file has few row groups, so each list would read the whole file again.
    """
    wanted_records = pa.array(records, pa.int64())
    rows = pa.Table.from_batches(
        (batch.filter(pc.is_in(batch["record"], wanted_records)) for batch in read_batches(mentions)), MENTIONS
    )
    places = rows["record"].to_numpy()  # ascending
    for chunk in read_documents(documents):
        wanted = [document for document in chunk if document.record in records]
        if wanted:
            first, last = np.searchsorted(places, [wanted[0].record, wanted[-1].record + 1])
            found = rows.slice(first, last - first).to_pylist()
            by_record = {record: list(group) for record, group in groupby(found, key=itemgetter("record"))}
            yield [(document, by_record[document.record]) for document in wanted]


def _relinked(stored: Sequence[_Stored], cascade: Cascade, tally: Relinked) -> tuple[list[_Row], Relinked]:
    """Return the relinked rows of documents, and updated counts. Unreadable documents keep the concepts that exist."""
    rows: list[_Row] = []
    spans = changed = unread = 0
    for (_, before), found in zip(stored, map_isolating_failures(stored, partial(_link, cascade=cascade)), strict=True):
        if isinstance(found, str):
            known = cascade.vocabulary.position
            rows += [row if row["mesh_id"] in known else row | _UNLINKED for row in before]
            unread += 1
            continue
        was, now = _by_place(before), _by_place([_fields(mention) for mention in found])
        for place, its_rows in was.items():
            links = now.get(place) or [_UNLINKED]  # text without word pieces cannot be linked
            rows += [its_rows[0] | link for link in links]
            spans += 1
            changed += {row["mesh_id"] for row in its_rows} != {link["mesh_id"] for link in links}
    return rows, replace(
        tally,
        documents=tally.documents + len(stored),
        spans=tally.spans + spans,
        changed=tally.changed + changed,
        unread=tally.unread + unread,
    )


@torch.inference_mode()
def _link(stored: Sequence[_Stored], *, cascade: Cascade) -> list[list[Mention]]:
    """Run the mid and high levels over the stored spans, with their stored probabilities."""
    texts = [text_of(document) for document, _ in stored]
    scores = [{_PLACE(row): row["ner_score"] for row in rows} for _, rows in stored]
    states, spans = cascade.find_spans(texts, given=[list(each) for each in scores])
    spans = [replace(span, score=scores[span.document][span.start, span.end, span.entity_type]) for span in spans]
    return cascade.resolve(cascade.link(texts, states, spans, Report()), states.windows, len(texts))


def _by_place(rows: Sequence[_Row]) -> dict[tuple[int, int, str], list[_Row]]:
    places: dict[tuple[int, int, str], list[_Row]] = {}
    for row in rows:
        places.setdefault(_PLACE(row), []).append(row)
    return places


def _fields(mention: Mention) -> _Row:
    return {name: getattr(mention, name) for name in MENTION_FIELDS}

"""Small homes for tests: rows with defaults, and a source written as a run would write it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import DELETIONS, DOCUMENTS, FAILURES, MENTIONS
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot
from e2emern.warehouse.sources.counts import SourceCounts, SourceSummary
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import SourceOutcome, begin_run, finish_run, write_run

MODEL, MESH = "small-1", "2024"
VERSIONS = Versions(MODEL, MESH)
CONCEPTS = [
    # mesh_id, name, type, trees, record_type, mapped_to
    ("D009369", "Neoplasms", "Disease", ["C04"], "descriptor", []),
    ("D009371", "Neoplasms by Site", "Disease", ["C04.588"], "descriptor", []),
    ("D001943", "Breast Neoplasms", "Disease", ["C04.588.180", "C17.800.090.500"], "descriptor", []),
    ("C562840", "Breast Cancer, Familial", "Disease", [], "supplementary", ["D001943"]),
    ("D001241", "Aspirin", "Chemical", ["D02.455.426.559.389.657.410.595.176"], "descriptor", []),
    ("OMIM:114480", "Breast Cancer", "Disease", [], "omim", []),
]


def key(name: str, digest: str = "0") -> SourceKey:
    return SourceKey(name, digest * 16)


def document(record: int, document_id: str, *, version: int = 1, text: str = "A title") -> dict[str, Any]:
    """One document with only a title; `add_source` adds its text_sha256 and the words of its mentions."""
    return {
        "record": record,
        "document_id": document_id,
        "pmid": int(document_id) if document_id.isdigit() else None,
        "version": version,
        "title": text,
        "abstract": "",
        "passages": [{"section": "title", "offset": 0, "text": text}],
        "journal": None,
        "published": "2021",
        "language": "eng",
        "vernacular_title": None,
        "abstract_type": None,
        "text_sha256": None,
        "annotations": [],
        "invalid_annotations": [],
    }


def mention(record: int, document_id: str, mesh_id: str | None = "D001943", *, start: int = 0) -> dict[str, Any]:
    """One mention of one character."""
    return {
        "record": record,
        "document_id": document_id,
        "pmid": int(document_id) if document_id.isdigit() else None,
        "sentence": 0,
        "start": start,
        "end": start + 1,
        "text": "A",
        "entity_type": "Disease",
        "mesh_id": mesh_id,
        "mesh_name": None,
        "ner_score": 0.5,
        "mid_score": None,
        "high_score": None,
        "link_score": None,
        "how": None,
    }


def add_vocabulary(home: Home) -> None:
    write_entities(
        home,
        [
            {
                "mesh_id": mesh_id,
                "name": name,
                "names": [name],
                "name_kinds": ["preferred"],
                "entity_type": kind,
                "tree_numbers": trees,
                "record_type": record_type,
                "mapped_to": mapped_to,
                "aliases": [],
                "mesh_version": MESH,
            }
            for mesh_id, name, kind, trees, record_type, mapped_to in CONCEPTS
        ],
        mesh_version=MESH,
    )


def add_source(
    home: Home,
    source: SourceKey,
    documents: Sequence[dict[str, Any]] = (),
    *,
    deletions: Sequence[tuple[int, ...]] = (),  # record, pmid, and the version if not all
    failures: Sequence[tuple[int, str]] = (),  # record, reason
    unread: Sequence[tuple[int, str]] = (),  # record of a document, reason
    mentions: Sequence[dict[str, Any]] | None = None,  # default: one per document
    counts: SourceCounts | None = None,
    error: str | None = None,
    model: str = MODEL,
) -> SourceSummary:
    """Write the files of a source, the mentions last."""
    make_home(home)
    origin = {"source": source.name, "digest": source.digest}
    if mentions is None:
        failed = {record for record, _ in unread}
        mentions = [mention(row["record"], row["document_id"]) for row in documents if row["record"] not in failed]
    counts = counts or SourceCounts(
        parsed=len(documents) + len(deletions) + len(failures),
        documents=len(documents),
        annotated=len(documents) - len(unread),
        without_text=0,
        failed=len(failures) + len(unread),
        deleted=len(deletions),
        invalid_annotations=sum(len(row["invalid_annotations"]) for row in documents),
    )
    summary = SourceSummary(
        key=source,
        format="pubmed-xml",
        bytes=100,
        counts=counts,
        status="damaged" if error else "complete",
        error=error,
    )
    with TableWriter(home.documents(source), DOCUMENTS) as writer:
        writer.append([origin | _with_words(row, mentions) for row in documents])
    with TableWriter(home.deletions(source), DELETIONS) as writer:
        writer.append(
            [
                origin | {"record": record, "pmid": pmid, "version": version[0] if version else None}
                for record, pmid, *version in deletions
            ]
        )
    versions = Versions(model, MESH)
    for path, rows in ((home.failures(source), failures), (home.unread(source, versions), unread)):
        with TableWriter(path, FAILURES) as writer:
            writer.append(
                [
                    origin | {"record": record, "document_id": None, "position": f"line {record}", "reason": reason}
                    for record, reason in rows
                ]
            )
    path = home.mentions(source, versions)
    with TableWriter(path, MENTIONS, metadata=summary.to_metadata()) as writer:
        writer.append([origin | versions.columns | row for row in mentions])
    return summary


def _with_words(row: dict[str, Any], mentions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a document whose first passage has the words of its mentions at their offsets, and its text_sha256."""
    first, *others = row["passages"]
    text = first["text"]
    for one in mentions:
        if one["record"] == row["record"] and not others and one["start"] >= 0:
            text = text.ljust(one["start"])[: one["start"]] + one["text"] + text[one["start"] + len(one["text"]) :]
    passages = [first | {"text": text}, *others]
    digested = "".join(f"{passage['offset']}\t{passage['text']}\n" for passage in passages)
    digest = row["text_sha256"] or hashlib.sha256(digested.encode()).hexdigest()
    return row | {"passages": passages, "text_sha256": digest}


def add_run(home: Home, *sources: SourceKey, run_id: str | None = None) -> str:
    """Record a run of these sources."""
    run = begin_run(read_history(home).runs)
    run = replace(
        run,
        run_id=run_id or run.run_id,
        sources=tuple(SourceOutcome(name=one.name, digest=one.digest, outcome="annotated") for one in sources),
    )
    write_run(home, finish_run(run))
    return run.run_id


def publish_it(home: Home) -> Snapshot:
    """Publish the annotations of the only model."""
    return publish(home, VERSIONS)

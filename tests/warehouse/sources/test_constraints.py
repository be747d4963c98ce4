"""Rows that cannot be true are not published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.warehouse.errors import PublishRefusedError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import DELETIONS, FAILURES
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key, mention

ONE = key("a.xml", "1")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"start": -1, "end": 0}, "0 <= start < end"),
        ({"start": 4, "end": 4, "text": ""}, "0 <= start < end"),
        ({"end": 9}, "text has end - start code points"),
        ({"sentence": -1}, "sentence >= 0"),
        ({"ner_score": 1.5}, "every score is between 0 and 1"),
        ({"mid_score": -0.1}, "every score is between 0 and 1"),
        ({"link_score": float("nan")}, "every score is between 0 and 1"),
        ({"mesh_id": "D999999"}, "mesh_id is one of entities"),
        ({"entity_type": "Gene"}, "entity_type is one of entities"),
    ],
)
def test_mentions(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    refused(tmp_path, [document(0, "1")], [mention(0, "1") | change], rule)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"version": 0}, "version >= 1"),
        ({"text_sha256": "0" * 63 + "G"}, "text_sha256 has 64 hex digits"),
        ({"record": -1}, "record >= 0"),
    ],
)
def test_documents(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    refused(tmp_path, [document(0, "1") | change], [], rule)


def refused(folder: Path, documents: list[dict[str, Any]], mentions: list[dict[str, Any]], rule: str) -> None:
    home = Home(folder)
    add_vocabulary(home)
    add_source(home, ONE, documents, mentions=mentions)
    with pytest.raises(PublishRefusedError) as caught:
        publish(home, VERSIONS)
    kind = "mentions" if mentions else "documents"
    assert str(caught.value).startswith(f"{folder}/{kind}/")
    assert f"breaks a rule: {rule}; report this" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_deletions_and_failures(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    origin = {"source": ONE.name, "digest": ONE.digest, "record": 0}
    add_source(home, ONE, deletions=[(0, 5)])
    with TableWriter(home.deletions(ONE), DELETIONS) as writer:
        writer.append([origin | {"pmid": 0, "version": 1}])
    with pytest.raises(PublishRefusedError, match="record 0 that breaks a rule: pmid > 0"):
        publish(home, VERSIONS)
    add_source(home, ONE, failures=[(0, "bad")])
    with TableWriter(home.failures(ONE), FAILURES) as writer:
        writer.append([origin | {"document_id": None, "position": "line 1", "reason": ""}])
    with pytest.raises(PublishRefusedError, match="record 0 that breaks a rule: reason is not empty"):
        publish(home, VERSIONS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("drop", r"has column none, expected pmid: int64 not null; delete it and annotate again$"),
        ("type", r"has column pmid: string not null, expected pmid: int64 not null; delete it"),
        ("null", r"has column pmid: int64, expected pmid: int64 not null; delete it"),
    ],
)
def test_other_columns(tmp_path: Path, changed: str, message: str) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, ONE, deletions=[(0, 5)])
    path = home.deletions(ONE)
    table = pq.read_table(path)
    at = table.schema.get_field_index("pmid")
    if changed == "drop":
        table = table.remove_column(at)
    elif changed == "type":
        table = table.set_column(at, pa.field("pmid", pa.string(), nullable=False), pa.array(["5"]))
    else:
        table = table.set_column(at, pa.field("pmid", pa.int64()), pa.array([5], pa.int64()))
    with TableWriter(path, table.schema) as writer:
        writer.append(table)
    with pytest.raises(PublishRefusedError, match=message):
        publish(home, VERSIONS)

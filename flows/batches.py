"""Batches of sources: estimate their size, and exchange their results between workers and coordinator.

A worker returns the table `batch`, an artifact of its run, with the digest of each mentions file that it wrote. The
coordinator trusts this table before any listing: on shared storage with cached attributes (NFS's default), a listing
may lack, for up to a minute, files that another host has written.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.logging import get_run_logger

from e2emern.flows.annotate import Outcome
from e2emern.tasks.sources import Source, count_records
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import revalidate
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots.file_stats import file_facts
from e2emern.warehouse.sources.counts import SourceSummary, finished, read_parse_summary

_KEY = "batch"
_PACKED, _PLAIN = 1_000, 5_000  # bytes of a record: PubMed XML, with and without compression


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The result of a source in a batch.

    Attributes:
        sha256: digest of its mentions file; None if it has none.
        reason: why it has none.
        host: host of the worker.
    """

    sha256: str | None
    reason: str
    host: str


def estimate_records(source: Source, home: Home) -> int:
    """Return the number of records of a source if it is parsed; otherwise estimate it from the file size."""
    if source.path.suffix == ".parquet":
        return max(1, count_records(source))
    try:
        parsed = read_parse_summary(home.documents(source.key))
        return max(1, parsed.documents + parsed.unusable + parsed.deleted)
    except WarehouseError:
        return max(1, source.bytes // (_PACKED if source.path.suffix in (".gz", ".xz", ".bz2", ".zip") else _PLAIN))


def cut(sources: Sequence[Source], *, records: int, count: Callable[[Source], int]) -> list[list[Source]]:
    """Return batches of about `records` records, in order; a source with more is a batch of its own."""
    batches: list[list[Source]] = []
    left = 0
    for source in sources:
        of_source = count(source)
        if not batches or of_source > left:
            batches.append([])
            left = records
        batches[-1].append(source)
        left -= of_source
    return batches


def return_batch(home: Home, outcome: Outcome) -> None:
    """Create the table of a batch, as an artifact of the run. Without a server, nothing is returned."""
    rows = [
        *(_row(home, outcome, one.summary) for one in outcome.annotated),
        *(_row(home, outcome, summary) for summary in outcome.unchanged),
        *(
            {"source": key.name, "digest": key.digest, "state": f"part: {some.written} of {some.parts} written"}
            for key, some in outcome.parts.items()
        ),
        *({"source": name, "state": f"failed: {reason}"} for name, reason in outcome.failed.items()),
    ]
    try:
        create_table_artifact([row | {"host": socket.gethostname()} for row in rows], key=_KEY)
    except httpx.HTTPError as error:
        get_run_logger().warning(f"the table of this batch is not shown ({type(error).__name__})")


def _row(home: Home, outcome: Outcome, summary: SourceSummary) -> dict[str, Any]:
    facts = file_facts(home.mentions(summary.key, outcome.versions))
    return {
        "source": summary.key.name,
        "digest": summary.key.digest,
        "documents": summary.counts.documents,
        "mentions": facts.rows,
        "failures": summary.counts.failed,
        "state": ": ".join(filter(None, (summary.status, summary.error))),
        "sha256": facts.sha256,
    }


def read_batch(client: SyncPrefectClient, runs: Iterable[str]) -> dict[str, Returned]:
    """Return what these flow runs returned, by the name of the source. Raises httpx.HTTPError."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=list(runs)),  # type: ignore[arg-type]  # pydantic parses the ids
        key=ArtifactFilterKey(any_=[_KEY]),
    )
    found: dict[str, Returned] = {}
    for artifact in client.read_artifacts(artifact_filter=wanted):
        for row in json.loads(str(artifact.data)):
            if str(row["state"]).startswith("part: "):  # its parts are found in the home
                continue
            if row["source"] not in found or row.get("sha256"):  # done by another run of the batch
                reason = str(row["state"]).removeprefix("failed: ")
                found[row["source"]] = Returned(sha256=row.get("sha256"), reason=reason, host=str(row.get("host")))
    return found


def read_work(client: SyncPrefectClient, runs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a row for each running batch: its worker, the file that it annotates, its progress.

    `runs` are the names of flow runs by id. Raises httpx.HTTPError.
    """
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=list(runs)),  # type: ignore[arg-type]  # pydantic parses the ids
        key=ArtifactFilterKey(like_="progress-%"),
    )
    rows = {run: dict.fromkeys(("worker", "batch", "progress", "file"), "") for run in runs}
    for artifact in client.read_artifacts(artifact_filter=wanted):
        row, (where, _, progress) = rows[str(artifact.flow_run_id)], str(artifact.description).partition(": ")
        row |= {"worker": where, "progress": progress} if artifact.key == "progress-batch" else {"file": where}
        row["batch"] = runs[str(artifact.flow_run_id)]
    return sorted((row for row in rows.values() if row["worker"]), key=lambda row: (row["worker"], row["batch"]))


def find_unseen(home: Home, keys: Iterable[SourceKey], versions: Versions, returned: dict[str, Returned]) -> list[str]:
    """Return the names of the sources whose files a worker has written but this host does not see yet."""
    listed = finished(home, versions)
    return [
        key.name
        for key in keys
        if (one := returned.get(key.name)) is not None
        and one.sha256 is not None
        and not (
            key.stem in listed and sees_documents(home, key) and _digest(home.mentions(key, versions)) == one.sha256
        )
    ]


def sees_documents(home: Home, key: SourceKey) -> bool:
    """Return whether this host sees the documents of a source, whatever it has cached about them."""
    documents = home.documents(key)
    revalidate(documents.parent)
    try:
        documents.open("rb").close()
    except FileNotFoundError:
        return False
    return True


def _digest(path: Path) -> str | None:
    try:
        return file_facts(path).sha256
    except WarehouseError:
        return None

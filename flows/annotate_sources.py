"""The `annotate-sources` deployment, the unit of scale-out: annotate a batch of sources, and load the model once.

It publishes nothing: the flow that sent the batches publishes when all are done. A run locks its sources, so a batch
that is sent twice is not annotated twice. It locks them before it loads the model, which takes long, because the sender
considers a batch lost if it stays unlocked.

Deploy it with `e2emern deploy`. `nightly` and `backfill` send its runs; to start one by hand, give file and digest:
`prefect deployment run annotate-sources/annotate-sources --params '{"sources": [...], "home": "/data/home", ...}'`.
"""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from e2emern.flows.annotate import IncompleteError, local_worker, run_sources
from e2emern.flows.artifacts import log_annotated
from e2emern.flows.batches import return_batch
from e2emern.flows.live_artifacts import ProgressArtifact
from e2emern.flows.retries import is_transient
from e2emern.flows.settings import AbsolutePath, read_settings
from e2emern.model.progress import Progress
from e2emern.tasks.annotate import Annotated, PartsWritten, annotate_share, annotate_source
from e2emern.tasks.devices import describe_device, pick_device
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_versions
from e2emern.tasks.parts import PART
from e2emern.tasks.processes import count_processes
from e2emern.tasks.resolve import find_mesh, find_model, read_mesh_version
from e2emern.tasks.sources import Source
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.sources.locks import claimed
from e2emern.warehouse.sources.runs import FLOW_RUN
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.tasks.chunks import Annotator


class SourceFile(BaseModel):
    """A dump file, with its digest and size at the time it was found."""

    name: str = Field(min_length=1, description="Its name in the tables.")
    path: Path = Field(description="Path of the file, or of its documents once it is parsed; the same on every host.")
    digest: str = Field(
        pattern=r"^[0-9a-f]{16}(-[1-9][0-9]*)?$",
        description="The first 16 hex digits of its SHA-256, and the version of its parser.",
    )
    bytes: int = Field(ge=0, description="Its size.")

    @classmethod
    def of(cls, source: Source) -> SourceFile:
        """Return the file of a source."""
        return cls(name=source.key.name, path=source.path.resolve(), digest=source.key.digest, bytes=source.bytes)

    @property
    def source(self) -> Source:
        """The source in this file."""
        return Source(self.path, SourceKey(self.name, self.digest), self.bytes)


@task(
    name="annotate source",
    task_run_name="{source.key.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[10, 60, 300],
    retry_condition_fn=is_transient,
)
def annotate_one(
    source: Source, *, annotator: Annotator, home: Home, part: int, share: int | None, progress: Progress
) -> Annotated | PartsWritten:
    """Annotate a source or a share of it, show its progress, and log a line when the source is done."""
    begun = time.monotonic()
    with ProgressArtifact(source.key.name, keep=False) as of_source:

        def report(what: str, done: int, total: int | None) -> None:
            of_source(what, done, total)
            progress(what, done, total)

        work = annotate_source if share is None else partial(annotate_share, share=share)
        done = work(source, annotator=annotator, home=home, part=part, progress=report)
    if isinstance(done, Annotated):
        log_annotated(done, seconds=time.monotonic() - begun)
    else:
        get_run_logger().info(
            f"{source.key.name}: {done.written:,} of {plural(done.parts, 'part')} written in "
            f"{time.monotonic() - begun:,.1f} s; others complete it"
        )
    return done


@flow(name="annotate-sources", persist_result=False)
def annotate_batch(
    sources: list[SourceFile],
    home: AbsolutePath,
    model: str,
    version: str,
    mesh: str,
    part: PositiveInt = PART,
    share: NonNegativeInt | None = None,
) -> None:
    """Annotate the sources of a batch that are not done into the tables of a home.

    The settings of the host decide the device. If some sources are damaged or cannot be read, fails after all others
    are done.

    Args:
        sources: the dump files.
        home: folder of the tables.
        model: version of a model in the home, or a model folder.
        version: expected version of that model; any other is refused.
        mesh: version of MeSH in the home, or an entities table.
        part: number of documents in a part: a larger source is annotated in parts, which are kept until it is done.
        share: which parts of a large source to annotate; by default all.
    """
    place = open_home(home)
    table, folder = find_mesh(Path(mesh), home=place), find_model(model, home=place)
    found = [one.source for one in sources]
    settings = read_settings(home=home)  # of this host
    device = describe_device(settings.device)
    processes = count_processes(settings.processes, device=pick_device(settings.device))
    options = {"device": device, "processes": str(processes), FLOW_RUN: str(flow_run.get_id())}
    get_run_logger().info(f"on {socket.gethostname()}, device {device}, processes {processes}")
    keys = [source.key for source in found]
    with claimed(place, keys, Versions(version, read_mesh_version(table)), share=share or 0):
        versions = read_versions(folder, table)
        if versions.model != version:
            raise InputError(
                f"is model {versions.model} on {socket.gethostname()}, but the sender has {version}; install the same "
                "release on every host, or add the model to the home and name its version (setting model)",
                path=folder,
            )
        with ProgressArtifact("batch", where=f"{socket.gethostname()}, {device}") as progress:
            work = local_worker(
                place,
                model=folder,
                mesh=table,
                device=settings.device,
                processes=processes,
                each=partial(annotate_one, part=part, share=share),
                progress=progress,
            )
            try:
                outcome = run_sources(found, place, versions=versions, options=options, work=work, publishing=False)
            except IncompleteError as error:
                return_batch(place, error.outcome)
                raise
            return_batch(place, outcome)

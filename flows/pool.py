"""Annotate many sources with any number of workers: each batch of sources is a flow run of `annotate-sources`.

The files in the home decide what is done: a batch is finished when its files exist, whatever the server reports. The
idempotency key of a batch is made from its sources, so a sender that was killed and restarted finds its earlier runs.
A worker that dies releases the locks of its sources. If they stay unlocked (setting `unlocked`), its run is marked as
crashed, and the batch is sent again.

A source with more records than a batch has a run for each share of its parts (`tasks.parts`). The first one parses it;
then the others are sent, ahead of what waits in the queue, so that sources are completed one after the other.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import cast

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Crashed

from e2emern.defaults import MESH
from e2emern.flows.annotate import Outcome, begin_in, run_sources
from e2emern.flows.annotate_sources import SourceFile
from e2emern.flows.artifacts import artifact_key
from e2emern.flows.batches import Returned, cut, estimate_records, find_unseen, read_batch, sees_documents
from e2emern.flows.live_artifacts import ProgressArtifact, Workers
from e2emern.flows.liveness import Liveness
from e2emern.flows.queues import ANNOTATE
from e2emern.flows.settings import Settings
from e2emern.tasks.annotate import read_annotated
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import keep_vocabulary, read_versions
from e2emern.tasks.parts import cut_parts, cut_shares
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.tasks.sources import Source
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot
from e2emern.warehouse.sources.counts import finished, pending, read_parse_summary
from e2emern.warehouse.sources.locks import is_claimed

DEPLOYMENT = "annotate-sources/annotate-sources"

RUNBOOK = "docs/operations.md#what-happens-when-something-fails"
_MOST_LOST = 5  # after this many worker deaths, blame the batch
_QUIET_S = 300.0  # without a finished batch, log a warning after this time
_SEEN_WITHIN_S = 180.0  # the caches of network file systems hide a new file for a minute at most


def annotate_on_pool(
    sources: list[Source],
    home: Home,
    *,
    model: str | None,
    mesh: str | None,
    settings: Settings,
    queue: str = ANNOTATE,
    publishing: bool = True,
    over: Snapshot | None = None,
) -> Outcome:
    """Annotate the sources that are not done on the workers, publish, and return the outcome, as `annotate_sources`.

    The model is by default the home's champion or else the bundled one, the vocabulary the bundled one. The queue is
    one of `flows.queues`.

    Raises InputError if the model or the vocabulary cannot be used or nothing is deployed, and WarehouseError if
    nothing can be published. Raises IncompleteError if some sources failed, after all others are done and published.
    """
    folder = find_model(model, home=home)
    table = find_mesh(Path(mesh) if mesh else MESH, home=home)
    versions = read_versions(folder, table)
    begin_in(home)
    keep_vocabulary(home, table, mesh_version=versions.mesh)  # for the workers

    def publish_part(outcome: Outcome) -> None:
        """Publish what is done, unless that shows less than the current snapshot: one of another model or MeSH."""
        current = outcome.snapshot or over
        if current and current.versions != versions:
            return
        try:
            outcome.snapshot = publish(home, versions, operation="annotate", over=current, limits=settings.publishing)
            get_run_logger().info(f"snapshot {outcome.snapshot.number} shows what is done so far")
        except WarehouseError as error:  # the end of the night reports it
            get_run_logger().warning(f"what is done so far is not published: {error}")

    pool = Pool(
        home=home,
        versions=versions,
        model=str(folder),
        queue=queue,
        batch=settings.batch,
        poll=settings.poll,
        patience=settings.patience,
        unlocked=settings.unlocked,
        publish_part=publish_part if publishing else None,
        publish_every_s=settings.publish_every * 3600,
    )
    return run_sources(
        sources,
        home,
        versions=versions,
        options={"queue": queue},
        work=pool.annotate,
        publishing=publishing,
        over=over,
        limits=settings.publishing,
    )


@dataclass(slots=True, eq=False)
class _Batch:
    """Sources that one run annotates, or a share of one, and the state of that run."""

    sources: list[Source]
    share: int | None
    run: FlowRun
    liveness: Liveness  # of this run
    sent: list[str]  # ids of all its runs
    shares: int = 1  # of its source, as far as they are sent
    lost: int = 0  # runs whose worker died while it ran them
    unseen_s: float = 0.0  # seconds in which what its worker wrote was not seen here


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How to send batches to the workers of `annotate-sources`, and how to wait for them.

    Attributes:
        model: folder of the model, the same on every host.
        queue: work queue of the runs.
        batch: records in one batch, and documents in a part of a large source.
        poll, patience, unlocked: see `Liveness`.
        publish_part: publishes what is done so far.
        publish_every_s: seconds between two calls of it.
    """

    home: Home
    versions: Versions
    model: str
    queue: str
    batch: int
    poll: float
    patience: float
    unlocked: float
    publish_part: Callable[[Outcome], None] | None
    publish_every_s: float

    def annotate(self, todo: list[Source], outcome: Outcome) -> None:
        """Send sources in batches, wait until each batch is done or has failed, and add the results to the outcome.

        Raises InputError if `annotate-sources` is not deployed.
        """
        log = get_run_logger()
        counts = {source.key: estimate_records(source, self.home) for source in todo}
        batches = cut(todo, records=self.batch, count=lambda source: counts[source.key])
        total = sum(counts.values())
        log.info(f"{len(todo):,} sources, about {total:,} records, to annotate in {len(batches):,} batches")
        begun = moved = published = time.monotonic()
        waiting = [
            self._begin(sources, 0 if self._count_shares(sum(counts[one.key] for one in sources)) > 1 else None)
            for sources in batches
        ]
        workers = Workers(artifact_key("workers", self.home.root.name))
        with get_client(sync_client=True) as client, ProgressArtifact("all batches") as progress:
            while waiting:
                time.sleep(self.poll)
                waiting += [share for one in waiting for share in self._send_other_shares(one)]
                done = finished(self.home, self.versions)
                ended = [one for one in waiting if self._is_finished(one, outcome, client, done)]
                waiting = [one for one in waiting if one not in ended]
                waiting += self._complete(ended, waiting, outcome)
                left = sum(counts[source.key] / one.shares for one in waiting for source in one.sources)
                progress("records", int(total - left), total)
                workers.show(client, [one.run for one in waiting])
                if ended:
                    moved = time.monotonic()
                    log.info(f"{len(waiting):,} batches are left")
                    if waiting and self.publish_part and moved - published >= self.publish_every_s:
                        self.publish_part(outcome)
                        published = time.monotonic()
                elif time.monotonic() - moved > _QUIET_S:
                    moved = time.monotonic()
                    log.warning(
                        f"{len(waiting):,} batches are not finished; is there a worker for queue {self.queue}? "
                        "e2emern check lists the workers, e2emern worker starts one"
                    )
        outcome.seconds = time.monotonic() - begun

    def _begin(self, sources: list[Source], share: int | None = None, *, since: datetime | None = None) -> _Batch:
        run = self._send(sources, share, since=since)
        liveness = Liveness(poll=self.poll, patience=self.patience, unlocked=self.unlocked)
        return _Batch(sources, share, run, liveness, [str(run.id)])

    def _count_shares(self, documents: int) -> int:
        return max(1, len(cut_shares(cut_parts(documents, size=self.batch))))

    def _send_other_shares(self, batch: _Batch) -> list[_Batch]:
        """Send the other shares of a large source once it is parsed, and return them."""
        source = batch.sources[0]
        others: list[_Batch] = []
        if batch.share == 0 and batch.shares == 1 and sees_documents(self.home, source.key):
            with _log_outage(), suppress(WarehouseError):  # damaged documents are made again
                documents = read_parse_summary(self.home.documents(source.key)).documents
                shares = self._count_shares(documents)
                since = batch.run.expected_start_time
                others = [self._begin(batch.sources, share, since=since) for share in range(1, shares)]
                for one in (batch, *others):
                    one.shares = shares
        return others

    def _complete(self, ended: list[_Batch], waiting: list[_Batch], outcome: Outcome) -> list[_Batch]:
        """Add the sources all of whose shares have ended to the outcome; return new batches for those not complete."""
        left = {source.key for one in waiting for source in one.sources}
        shares = {one.sources[0].key: one for one in ended if one.share is not None}
        batches = list[_Batch]()
        for source, batch in ((one.sources[0], one) for key, one in shares.items() if key not in left):
            if not pending(self.home, [source.key], self.versions) and sees_documents(self.home, source.key):
                outcome.failed.pop(source.key.name, None)
                self._add([source], outcome, {})
            elif source.key.name not in outcome.failed:
                again = [batch]  # in an outage
                with _log_outage():
                    again = self._send_other_shares(batch) or [self._begin([source])]
                batches += again
        return batches

    def _send(self, sources: list[Source], share: int | None, *, since: datetime | None = None) -> FlowRun:
        """Start a run for sources, or return an earlier one that has not ended, whoever started it.

        It begins ahead of runs that were sent after the time `since`.
        """
        of_share = [] if share is None else [self.batch, share]
        parts = [self.home.root, *astuple(self.versions), *(source.key.stem for source in sources), *of_share]
        key = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
        first, more = sources[0].key.name, len(sources) - 1
        parameters = {
            "sources": [SourceFile.of(source).model_dump(mode="json") for source in sources],
            "home": str(self.home.root),
            "model": self.model,
            "version": self.versions.model,
            "mesh": self.versions.mesh,
            "part": self.batch,
            "share": share,
        }
        others = f" and {more} more" if more else "" if share is None else f", share {share + 1}"
        for attempt in count(1):
            try:
                started = run_deployment(
                    DEPLOYMENT,
                    parameters=parameters,
                    scheduled_time=since,
                    flow_run_name=f"annotate {first}{others}",
                    work_queue_name=self.queue,
                    idempotency_key=f"{key}-{attempt}",
                    timeout=0,
                )
            except ObjectNotFound as error:
                raise InputError(f"no deployment {DEPLOYMENT} on the server; deploy with: e2emern deploy") from error
            run = cast(FlowRun, started)  # a coroutine only if called from one
            if not run.state or not run.state.is_final():
                return run
        raise AssertionError  # count never ends

    def _is_finished(self, batch: _Batch, outcome: Outcome, client: SyncPrefectClient, done: Collection[str]) -> bool:
        """Return whether a batch is finished; if so, add it to the outcome. Send it again if its run is lost."""
        left = [
            source
            for source in batch.sources
            if source.key.stem not in done or not sees_documents(self.home, source.key)
        ]
        if not left and batch.share is None:
            self._add(batch.sources, outcome, {})
            return True
        ended = False
        with _log_outage():
            ended = self._has_ended(batch, outcome, client, left)
        return ended

    def _has_ended(self, batch: _Batch, outcome: Outcome, client: SyncPrefectClient, left: list[Source]) -> bool:
        """Return whether the run of a batch has ended, or nothing is left for it and no worker processes it."""
        if (why := self._loss(batch, client)) is not None:
            get_run_logger().warning(f"{batch.run.name}: {why}")
            return not left or self._has_given_up(batch, outcome, left, why)
        state = batch.run.state
        if state and state.is_final():
            returned = read_batch(client, batch.sent)
            if batch.share is None:
                return self._has_settled(batch, outcome, returned)
            if state.type != StateType.COMPLETED:
                outcome.failed |= self._failed(batch, returned)
            return True
        return not left and state is not None and state.type == StateType.SCHEDULED

    def _has_given_up(self, batch: _Batch, outcome: Outcome, left: list[Source], why: str) -> bool:
        """Send a lost batch again; after many deaths, report its sources as failed, and return True."""
        of_next = batch.liveness.of_next_run()
        batch.lost += of_next.patience == batch.liveness.patience
        if batch.lost < _MOST_LOST:
            batch.run = self._send(batch.sources, batch.share)
            batch.sent.append(str(batch.run.id))
            batch.liveness = of_next
            return False
        self._add(batch.sources, outcome, dict.fromkeys((one.key.name for one in left), f"{why}, {batch.lost} times"))
        return True

    def _failed(self, batch: _Batch, returned: dict[str, Returned]) -> dict[str, str]:
        """Return the sources of a batch that are not done, with the reasons."""
        names = [key.name for key in pending(self.home, [source.key for source in batch.sources], self.versions)]
        return {name: returned[name].reason if name in returned else _message(batch.run, self.home) for name in names}

    def _has_settled(self, batch: _Batch, outcome: Outcome, returned: dict[str, Returned]) -> bool:
        """Add a batch whose run has ended to the outcome, once this host sees all that its worker wrote."""
        keys = [source.key for source in batch.sources]
        unseen = find_unseen(self.home, keys, self.versions, returned)
        if unseen and batch.unseen_s < _SEEN_WITHIN_S:
            if not batch.unseen_s:
                get_run_logger().info(f"{batch.run.name}: waiting until this host sees the file of {unseen[0]}")
            batch.unseen_s += self.poll
            return False
        failed = self._failed(batch, returned)
        for name in unseen:
            failed[name] = (
                f"its mentions were written on {returned[name].host}, and {socket.gethostname()} does not see them "
                f"after {_SEEN_WITHIN_S:,.0f} s; mount the same storage as {self.home.root} (setting home) on both "
                f"hosts; see {RUNBOOK}"
            )
        self._add(batch.sources, outcome, failed)
        return True

    def _loss(self, batch: _Batch, client: SyncPrefectClient) -> str | None:
        """Return why no worker will finish the run of a batch; None if one may. Mark an abandoned run as crashed."""
        try:
            batch.run = client.read_flow_run(batch.run.id)
        except ObjectNotFound:
            return "somebody deleted its run"
        state = batch.run.state
        kind = state.type if state else StateType.SCHEDULED
        if kind == StateType.CRASHED:
            return f"its worker crashed ({_message(batch.run, self.home)})"
        if kind == StateType.CANCELLED and _was_cancelled_with_its_sender(batch.run, client):
            return "it was cancelled together with an earlier run that had sent it"
        locked = kind == StateType.RUNNING and any(
            is_claimed(self.home, one.key, self.versions, share=batch.share or 0) for one in batch.sources
        )
        if (why := batch.liveness.find_loss(kind, locked=locked)) is not None:
            client.set_flow_run_state(batch.run.id, Crashed(message=why), force=True)
        return why

    def _add(self, sources: list[Source], outcome: Outcome, failed: dict[str, str]) -> None:
        outcome.failed |= failed
        outcome.annotated += [
            read_annotated(source, home=self.home, versions=self.versions)
            for source in sources
            if source.key.name not in failed
        ]


@contextmanager
def _log_outage() -> Iterator[None]:
    """Log that the server does not answer, as while it restarts: the batches continue meanwhile."""
    try:
        yield
    except httpx.HTTPError as error:
        get_run_logger().warning(f"the Prefect server does not answer ({type(error).__name__}); the batches continue")


def _was_cancelled_with_its_sender(run: FlowRun, client: SyncPrefectClient) -> bool:
    """Return whether Prefect cancelled a run together with an earlier flow run that had sent it."""
    with suppress(ObjectNotFound):
        if run.parent_task_run_id and (parent := client.read_task_run(run.parent_task_run_id)).flow_run_id:
            sender = client.read_flow_run(parent.flow_run_id)
            return str(sender.id) != flow_run.get_id() and sender.state_type == StateType.CANCELLED
    return False


def _message(run: FlowRun, home: Home) -> str:
    """Return the message of the last state of a run, without the prefix that Prefect adds."""
    state = run.state
    if state is None or state.type == StateType.COMPLETED:
        return (
            f"run {run.name} completed without its mentions; install the same release on every host, mount the same "
            f"storage as {home.root} (setting home) there, and look at e2emern check; see {RUNBOOK}"
        )
    message = " ".join((state.message or state.name or "").split())
    return message.removeprefix("Flow run encountered an exception: ").removeprefix("InputError: ")

"""Manage the snapshots of a home: `snapshots list`, `publish`, `diff`, `rollback`, `prune`, `relocate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2emern.flows.cli.application import group, say
from e2emern.flows.cli.options import HomeFolder, Why
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Versions
from e2emern.warehouse.wording import examples, plural

if TYPE_CHECKING:
    from e2emern.warehouse.snapshots.diff import Change, Listed

_TITLE = 80  # characters

snapshots_app = group("snapshots", says="List, compare, publish, roll back, prune and move the snapshots of a home.")


@snapshots_app.command(
    "list", short_help="List the snapshots, newest first", epilog="Example: e2emern snapshots list --home home"
)
def list_all(home: HomeFolder) -> None:
    """List the snapshots, newest first, with time, content and state."""
    from e2emern.warehouse.snapshots.diff import list_snapshots
    from e2emern.warehouse.snapshots.refs import rollbacks

    for listed in list_snapshots(home):
        print(_listed(listed))
    for one in rollbacks(home):
        why = f": {one.why}" if one.why else ""
        print(f"{one.when[:16].replace('T', ' ')} {one.by} went from snapshot {one.left} to {one.shown}{why}")


@snapshots_app.command(
    "publish",
    short_help="Publish what is annotated",
    epilog="Example: e2emern snapshots publish --home home --accept 'we retired 2 dumps'",
)
def publish_all(
    home: HomeFolder,
    accept: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Publish despite exceeded limits or a rollback; the reason is recorded."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Model version.", show_default="that of the current snapshot")
    ] = None,
    mesh: Annotated[
        str | None, typer.Option(metavar="VERSION", help="MeSH version.", show_default="that of the current snapshot")
    ] = None,
    keep_current: Annotated[
        bool,
        typer.Option("--keep-current", help="Do not make it the current snapshot, so that the two can be compared."),
    ] = False,
) -> None:
    """Publish finished work without annotating anything."""
    from e2emern.warehouse.snapshots.publish import publish
    from e2emern.warehouse.snapshots.reader import current_snapshot

    current = current_snapshot(home)
    if current is None and (model is None or mesh is None):
        raise WarehouseError("has no snapshot yet: name the versions with --model and --mesh", path=home.root)
    shown = current.versions if current else Versions("", "")
    snapshot = publish(
        home, Versions(model or shown.model, mesh or shown.mesh), accept=accept, make_current=not keep_current
    )
    said = "is published, but not current" if keep_current else "is published"
    said = "already shows everything that is annotated" if snapshot.unchanged else said
    documents, mentions = plural(snapshot.documents, "document"), plural(snapshot.mentions, "mention")
    print(f"snapshot {snapshot.number} {said}: {documents}, {mentions}")
    if snapshot.exceeded and not snapshot.unchanged:
        say(f"exceeds the limits: {snapshot.exceeded}")


@snapshots_app.command(short_help="Compare two snapshots", epilog="Example: e2emern snapshots diff 41 42 --home home")
def diff(
    before: Annotated[int, typer.Argument(metavar="A", help="Number of the snapshot to compare from.")],
    after: Annotated[int, typer.Argument(metavar="B", help="Number of the snapshot to compare to.")],
    home: HomeFolder,
) -> None:
    """List the documents and concepts gained, lost and changed from A to B, with examples."""
    from e2emern.warehouse.snapshots.diff import difference

    found = difference(home, before, after)
    was, is_now = found.before, found.after
    print(f"operation: {was.operation} -> {is_now.operation}")
    if was.versions != is_now.versions:
        print(
            f"model {was.model_version}, MeSH {was.mesh_version} -> "
            f"model {is_now.model_version}, MeSH {is_now.mesh_version}"
        )
    documents, concepts = found.documents, found.concepts
    print(f"documents: {was.documents:,} -> {is_now.documents:,}: {_counts(documents)}")
    for change, gone in documents.examples.items():
        for document in gone:
            print(f"  {change} {document.document_id} {_shorten(document.title)}")
    print(f"concepts: {was.concepts:,} -> {is_now.concepts:,}: {_counts(concepts)}")
    for change, moved in concepts.examples.items():
        for one in moved:
            print(f"  {change} {one.mesh_id} {one.mesh_name or ''}: {one.was:,} -> {plural(one.is_now, 'mention')}")
    print(f"mentions: {was.mentions:,} -> {is_now.mentions:,}, linked {was.linked:,} -> {is_now.linked:,}")


@snapshots_app.command(
    short_help="Make another snapshot the current one",
    epilog="Example: e2emern snapshots rollback 41 --home home --why 'dump 1301 is truncated'",
)
def rollback(
    home: HomeFolder,
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="By default the previous one.")] = None,
    why: Why = None,
) -> None:
    """Make another snapshot the current one. Nothing is published after that until you accept it."""
    from e2emern.warehouse.snapshots.refs import active_rollback, roll_back

    done = roll_back(home, number, why=why)
    print(f"snapshot {done.shown} is current in place of {done.left}")
    if active_rollback(home):
        say("nothing is published until somebody runs: e2emern snapshots publish --accept WHY")


@snapshots_app.command(
    short_help="Delete old snapshots and their files", epilog="Example: e2emern snapshots prune --keep 14 --home home"
)
def prune(
    home: HomeFolder,
    keep: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Number of newest snapshots to keep; the current one is always kept."),
    ],
    grace: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="HOURS",
            help="Also keep snapshots that were current within this time, for readers on other hosts.",
            show_default="a minute",
        ),
    ] = None,
) -> None:
    """Delete old snapshots, and the files that only they show; unpublished work is kept.

    A snapshot that a reader has open is kept. If the home is on storage whose locks this host does not see, set --grace
    to the time that the slowest reader takes.
    """
    from e2emern.warehouse.snapshots.prune import GRACE_S
    from e2emern.warehouse.snapshots.prune import prune as prune_home

    done = prune_home(home, keep=keep, grace_s=GRACE_S if grace is None else grace * 3600)
    print(
        f"deleted {plural(len(done.deleted), 'snapshot')} and {plural(done.files, 'file')} of "
        f"{done.bytes / 1e6:,.1f} MB; "
        f"kept {examples([*map(str, done.kept)], separator=', ')}"
    )
    if done.in_use:
        in_use = examples([*map(str, done.in_use)], separator=", ")
        say(f"{in_use} open or current a moment ago; the next prune deletes them")


@snapshots_app.command(
    short_help="Adapt a home that has moved", epilog="Example: e2emern snapshots relocate --home /mnt/new/home"
)
def relocate(home: HomeFolder) -> None:
    """After a home has moved, update the paths in its snapshots for other DuckDB clients."""
    from e2emern.warehouse.snapshots.refs import relocate as relocate_home

    moved = relocate_home(home)
    print(
        f"snapshots {examples([*map(str, moved)], separator=', ')} read {home} now"
        if moved
        else f"all snapshots already read {home}"
    )


def _listed(listed: Listed) -> str:
    one = listed.snapshot
    line = (
        f"{one.number:>5} {listed.state:9} {one.created:%Y-%m-%d %H:%M} {one.operation}: "
        f"{plural(one.sources, 'source')}, {plural(one.documents, 'document')}, {plural(one.mentions, 'mention')} of "
        f"{plural(one.concepts, 'concept')}, "
        f"model {one.model_version}, MeSH {one.mesh_version}"
    )
    if one.exceeded:
        line += f"\n      exceeds the limits: {one.exceeded}"
    if one.accepted:
        line += f"\n      accepted by {one.accepted}"
    return line


def _shorten(title: str) -> str:
    """Return a title of at most 80 characters, with an ellipsis if it is cut."""
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _counts(change: Change[Any]) -> str:
    return f"{change.gained:,} gained, {change.lost:,} lost, {change.changed:,} changed"

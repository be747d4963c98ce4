"""Manage versions of the vocabulary: `mesh import`, `mesh list`, `mesh diff`, `mesh relink`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.flows.cli.application import group, say
from e2emern.flows.cli.options import AnswerFormat, Device, Form, HomeFolder, OnDevice, OptionalHome
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.tasks.mesh.importing import Imported

mesh_app = group("mesh", says="Versions of MeSH: import them, compare them, link to a new one.")


@mesh_app.command(
    "import",
    short_help="Make one version of MeSH from its sources",
    epilog="Example: e2emern mesh import desc2026.xml supp2026.xml.gz --home home",
)
def mesh_import(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="NLM's desc and supp XML, CTD_diseases.tsv, a table of replaced ids, plain or compressed, or a folder "
            "of our compact tables.",
        ),
    ],
    home: OptionalHome = None,
    mesh_version: Annotated[
        str | None,
        typer.Option("--version", metavar="V", help="Name of this version.", show_default="the year of NLM's files"),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Entities table to write, Parquet.")] = None,
) -> None:
    """Make one version of MeSH from all sources together, for `annotate --mesh` and `mesh relink`.

    It is stored in the home, written to --output, or both. Records that cannot be used go to a table of failures next
    to it; the others are imported.
    """
    if home is None and output is None:
        raise typer.BadParameter("give --home, --output or both")
    from e2emern.tasks.mesh.importing import import_mesh

    imported = import_mesh(sources, version=mesh_version, home=home, output=output)
    say(_summary(imported, home=home, output=output))


def _summary(imported: Imported, *, home: Home | None, output: Path | None) -> str:
    places = " and ".join(str(place) for place in (home, output) if place is not None)
    concepts, names = plural(imported.concepts, "concept"), plural(imported.names, "name")
    line = f"MeSH {imported.mesh_version} in {places}: {concepts} with {names}"
    if imported.unchanged:
        line += ", as before"
    line += f"; of {plural(imported.read, 'record')}, joined to others: {imported.joined:,}, neither disease nor "
    line += f"chemical: {imported.left_out:,}, failed: {imported.failed:,}"
    if imported.replaced:
        line += f"; replaced ids: {imported.replaced:,}"
    return f"{line} (see {imported.failures})" if imported.failures else line


@mesh_app.command(
    "list", short_help="List the versions of MeSH in a home", epilog="Example: e2emern mesh list --home home"
)
def mesh_list(
    home: HomeFolder,
    form: Form = AnswerFormat.TABLE,
) -> None:
    """List the versions of MeSH in a home."""
    import pyarrow as pa

    from e2emern.flows.cli.render import print_answer
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.warehouse.mesh.entities import VocabularySummary, list_vocabularies

    home.check()
    found = list_vocabularies(home)
    columns = {name: [getattr(one, name) for one in found] for name in VocabularySummary.__dataclass_fields__}
    print_answer(pa.table(columns), form=form.value, console=VisibleConsole())


@mesh_app.command(
    "diff", short_help="Compare two versions of MeSH", epilog="Example: e2emern mesh diff 2025 2026 --home home"
)
def mesh_diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Version of MeSH in the home.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Version to compare with it.")],
    home: HomeFolder,
    form: Form = AnswerFormat.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="Print at most this many changes of each kind.")] = 20,
) -> None:
    """List new, retired, replaced, merged, renamed and moved concepts, and how many stored mentions each affects.

    `now` is the concept that replaces the old one, the new name, or the new tree numbers. Mentions are those of the
    current snapshot: for a new concept those with its words, for any other those linked to it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from e2emern.flows.cli.render import print_answer
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.model.vocabulary import bag_of_words
    from e2emern.warehouse.mesh.changes import KINDS, mesh_changes

    with mesh_changes(home, old=old, new=new, fold=bag_of_words) as changes:
        listed = changes.listed()
    of_kind = {kind: listed.filter(pc.field("change") == kind) for kind in KINDS}
    print_answer(
        pa.concat_tables([rows.slice(0, limit) for rows in of_kind.values()]), form=form.value, console=VisibleConsole()
    )
    counts = [
        f"{len(rows):,} {kind} ({plural(pc.sum(rows['mentions']).as_py() or 0, 'mention')})"
        for kind, rows in of_kind.items()
    ]
    say(f"MeSH {new} against {old}: {', '.join(counts)}")
    if any(len(rows) > limit for rows in of_kind.values()):
        say(f"cut after {limit:,} of each kind; raise --limit for more")


@mesh_app.command(
    "relink",
    short_help="Link stored mentions to another version",
    epilog="Example: e2emern mesh relink --home home --mesh 2026",
)
def mesh_relink(
    home: HomeFolder,
    mesh: Annotated[str, typer.Option(metavar="V", help="Version of MeSH in the home to link to.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The snapshot's model.", show_default="that model, if the home keeps it"),
    ] = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Relink the stored mentions that a MeSH version affects, reuse all others, and publish.

    The spans stay the same. Finished sources are skipped: run the same command again to continue after an
    interruption.
    """
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.flows.relink import relink

    with TerminalProgress() as progress:
        outcome = relink(home.root, mesh=mesh, model=model, device=device.value, progress=progress)
    if outcome.old == outcome.new:
        print(f"{home} is linked to MeSH {mesh} already, by snapshot {outcome.snapshot.number}")
        return
    again = f" ({outcome.before:,} more were done before)" if outcome.before else ""
    total = outcome.total
    print(
        f"MeSH {outcome.old} to {outcome.new}: {plural(len(outcome.sources), 'source')}{again} with "
        f"{plural(total('mentions'), 'mention')}; linked again: {total('spans'):,} in "
        f"{plural(total('documents'), 'document')}, {total('changed'):,} of them to another concept or to none"
    )
    if unread := total("unread"):
        say(f"not linked again, keeping the concepts that still exist: {plural(unread, 'document')}")
    snapshot = outcome.snapshot
    mentions, concepts = plural(snapshot.mentions, "mention"), plural(snapshot.concepts, "concept")
    print(f"Snapshot {snapshot.number} of {home}: {mentions} of {concepts}")

"""The vocabulary: `mesh import`, `mesh list`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.layout import Home

from .application import Folder, group, say

if TYPE_CHECKING:
    from tasks.mesh.importing import Imported

mesh_app = group("mesh", says="Versions of MeSH: import them, compare them, link to a new one.")


@mesh_app.command("import", epilog="Example: e2emern mesh import desc2026.xml supp2026.xml.gz --home home")
def mesh_import(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="NLM's desc and supp XML, CTD_diseases.tsv, plain or gzip, or a folder of our compact tables.",
        ),
    ],
    home: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the tables, to keep it in.")] = None,
    mesh_version: Annotated[
        str | None,
        typer.Option("--version", metavar="V", help="Name of this version.", show_default="the year of NLM's files"),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Entities table to write, Parquet.")] = None,
) -> None:
    """Make one version of MeSH from all sources together, for `annotate --mesh` and `mesh relink`.

    Records that cannot be used go to a table of failures beside it; the others are imported.
    """
    if home is None and output is None:
        raise typer.BadParameter("give --home, --output or both")
    from tasks.mesh.importing import import_mesh

    imported = import_mesh(sources, version=mesh_version, home=Home(home) if home else None, output=output)
    say(_told(imported, home=home, output=output))


def _told(imported: Imported, *, home: Path | None, output: Path | None) -> str:
    places = " and ".join(str(place) for place in (home, output) if place is not None)
    told = f"MeSH {imported.mesh_version} in {places}: {imported.concepts:,} concepts with {imported.names:,} names"
    if imported.unchanged:
        told += ", as before"
    told += f"; of {imported.read:,} records {imported.joined:,} joined others, {imported.left_out:,} are neither "
    told += f"disease nor chemical, {imported.failed:,} failed"
    return f"{told}: see {imported.failures}" if imported.failures else told


@mesh_app.command("list", epilog="Example: e2emern mesh list --home home")
def mesh_list(home: Folder) -> None:
    """List the versions of MeSH in a home."""
    import pyarrow as pa
    from rich.console import Console

    from flows.answers import print_answer
    from warehouse.entities import VocabularySummary, list_vocabularies

    found = list_vocabularies(Home(home))
    columns = {name: [getattr(one, name) for one in found] for name in VocabularySummary.__dataclass_fields__}
    print_answer(pa.table(columns), form="table", console=Console())

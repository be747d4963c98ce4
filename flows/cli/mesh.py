"""The vocabulary: `mesh import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .application import group, say

mesh_app = group("mesh", says="Make tables of the vocabulary.")


@mesh_app.command("import", epilog="Example: e2emern mesh import mesh/ --version 2024 --output mesh.parquet")
def mesh_import(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of names, records and aliases, .tsv[.xz].")],
    mesh_version: Annotated[str, typer.Option("--version", metavar="V", help="Name of this version of MeSH.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="Entities table to write.")],
) -> None:
    """Make an entities table for `annotate --mesh` from compact tables of names, records and aliases."""
    from tasks.mesh import read_compact_mesh
    from warehouse.parquet import TableWriter
    from warehouse.schemas import ENTITIES

    with TableWriter(output, ENTITIES) as writer:
        writer.append(read_compact_mesh(folder, version=mesh_version))
    say(f"wrote {writer.rows:,} concepts to {output}")

"""Mentions that stand in a file already: `link`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defaults import MESH, MODEL

from .annotate import Device
from .application import app, say

if TYPE_CHECKING:
    from tasks.parsers.records import Failure


@app.command(epilog="Example: e2emern link spans.PubTator --output linked.PubTator --branch C04")
def link(
    path: Annotated[Path, typer.Argument(metavar="INPUT", help="PubTator file with mentions, plain or gzip.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="PubTator file to write.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Model folder.", show_default="the bundled one")] = MODEL,
    mesh: Annotated[
        Path, typer.Option(metavar="PATH", help="Entities table, Parquet.", show_default="the bundled one")
    ] = MESH,
    branch: Annotated[
        list[str] | None, typer.Option(metavar="NUMBER", help="Link to what is at or under this tree number; repeat.")
    ] = None,
    allow: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Link to these ids, one a line, and to those under --branch.")
    ] = None,
    deny: Annotated[Path | None, typer.Option(metavar="FILE", help="Never link to these ids, one a line.")] = None,
    home: Annotated[Path, typer.Option(metavar="DIR", help="Keeps the encoded names, if they have to be.")] = Path(
        "home"
    ),
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.AUTO,
) -> None:
    """Link the disease and chemical mentions that stand in a PubTator file to MeSH, and write it with their ids.

    Records and annotations that cannot be used are told, one a line, and left out; all others are linked.
    """
    from tasks.choices import find_mesh
    from tasks.errors import InputError
    from tasks.link import link_file
    from tasks.models import load, read_versions
    from warehouse.layout import Home

    table = find_mesh(mesh, home=Home(home))
    read_versions(model, table)  # tells what is missing
    cascade = load(model, table, home=Home(home), device=device.value)
    try:
        cascade.selection = cascade.vocabulary.select(
            branches=branch or [], allow=_ids(allow) if allow else [], deny=_ids(deny) if deny else []
        )
    except ValueError as error:
        raise InputError(str(error)) from error

    def tell(failure: Failure) -> None:
        say(f"{path.name}: {failure.position}: document {failure.document_id or 'without id'}: {failure.reason}")

    counts = link_file(path, output, cascade=cascade, tell=tell)
    say(
        f"wrote {counts.documents:,} documents to {output}: {counts.linked:,} of {counts.mentions:,} mentions linked, "
        f"{counts.failures:,} failures"
    )


def _ids(path: Path) -> list[str]:
    """The ids of a list: one a line, what follows it and lines that begin with # passed over."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [words[0] for words in lines if words and not words[0].startswith("#")]

"""Link the mentions of a PubTator file: `link`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.defaults import MESH, MODEL
from e2emern.flows.cli.application import app, report_examples, say
from e2emern.flows.cli.options import Allow, Branch, Deny, Device, HomeFolder, Mesh, OnDevice
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.tasks.parsers.records import Failure


@app.command(epilog="Example: e2emern link spans.PubTator --output linked.PubTator --branch C04")
def link(
    path: Annotated[Path, typer.Argument(metavar="INPUT", help="PubTator file with mentions, plain or compressed.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="PubTator file to write.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Model folder.", show_default="the bundled one")] = MODEL,
    mesh: Mesh = MESH,
    branch: Branch = None,
    allow: Allow = None,
    deny: Deny = None,
    home: HomeFolder = Home(Path("home")),
    abstain: Annotated[
        float,
        typer.Option(
            metavar="P", min=0, max=1, help="Leave a mention unlinked if its best link is less probable than this."
        ),
    ] = 0.0,
    device: OnDevice = Device.AUTO,
) -> None:
    """Link the disease and chemical mentions of a PubTator file to MeSH, and write the file with their ids.

    Everything else in the file is copied unchanged. Annotations that cannot be used are counted by type or by kind of
    error. If the model folder has no entity bank for this MeSH version, the home caches one.
    """
    from e2emern.tasks.concept_filter import select_concepts
    from e2emern.tasks.models import load, read_versions, read_vocabulary
    from e2emern.tasks.resolve import check_spans, find_mesh

    table, selection = find_mesh(mesh, home=home), None
    read_versions(model, table)  # reports missing files
    check_spans(path, output=output)
    if branch or allow or deny:
        selection = select_concepts(read_vocabulary(table), branches=branch or (), allow=allow, deny=deny)

    from e2emern.tasks.link import (
        link_file,  # slow to import, and so is loading the model, so input errors are reported first
    )

    cascade = load(model, table, home=home, device=device.value)
    cascade.selection, cascade.least_link = selection, abstain

    def report(failure: Failure) -> None:
        say(f"{path.name}: {failure.position}: document {failure.document_id or 'without id'}: {failure.reason}")

    counts = link_file(path, output, cascade=cascade, log=report)
    say(
        f"wrote {plural(counts.documents, 'document')} to {output}: {counts.linked:,} of "
        f"{plural(counts.mentions, 'mention')} linked, {plural(counts.failures, 'failure')}"
    )
    if passed_over := counts.passed_over.summary():
        say(passed_over)
    report_examples(counts.passed_over.invalid, counts.passed_over.examples)

"""Write annotated documents to a file: `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Allow, Branch, Deny, HomeFolder
from e2emern.warehouse.wording import plural


class ExportFormat(StrEnum):
    """The formats of documents with mentions."""

    PUBTATOR = "pubtator"
    BIOC_XML = "bioc-xml"
    BIOC_JSON = "bioc-json"
    JSONL = "jsonl"


@app.command(epilog="Example: e2emern export --home home --format bioc-json --output annotated.json.gz")
def export(
    home: HomeFolder,
    form: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="File to write; .gz packs it, - is standard output.")],
    skip_full_text: Annotated[
        bool, typer.Option("--skip-full-text", help="Leave out documents that PubTator cannot hold.")
    ] = False,
    branch: Branch = None,
    allow: Allow = None,
    deny: Deny = None,
) -> None:
    """Write the documents of the current snapshot with their mentions.

    With --branch, --allow or --deny, mentions of other concepts are written as not linked, as `link` does.
    """
    from e2emern.tasks.export import export as export_to
    from e2emern.tasks.export import read_annotated

    selected = None
    if branch or allow or deny:
        from e2emern.tasks.concept_filter import read_selection

        selected = read_selection(home, branches=branch or (), allow=allow, deny=deny)
    written = export_to(read_annotated(home, selected=selected), output, form=form.value, skip_full_text=skip_full_text)
    say(f"wrote {plural(written.documents, 'document')} with {plural(written.mentions, 'mention')} to {output}")
    if written.skipped:
        say(f"left out, as PubTator cannot hold them: {plural(written.skipped, 'document')}")
    if written.altered:
        altered = plural(written.altered, "document")
        say(f"in {altered}, characters that {form.value} forbids were replaced one for one")

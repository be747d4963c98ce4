"""Write annotated documents to a file: `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Allow, Branch, Deny, HomeFolder, MinScore
from e2emern.warehouse.wording import plural


class ExportFormat(StrEnum):
    """The formats of documents with mentions, then those of a table with a row for each mention."""

    PUBTATOR = "pubtator"
    BIOC_XML = "bioc-xml"
    BIOC_JSON = "bioc-json"
    JSONL = "jsonl"
    BRAT = "brat"
    CONLL = "conll"
    DOCBIN = "docbin"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


@app.command(epilog="Example: e2emern export --home home --format csv --min-score 0.9 --output mentions.csv.gz")
def export(
    home: HomeFolder,
    form: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="File to write; .gz compresses it, - is standard output. For brat, a new folder."
        ),
    ],
    min_score: MinScore = None,
    skip_full_text: Annotated[
        bool, typer.Option("--skip-full-text", help="Skip documents that the format cannot represent.")
    ] = False,
    branch: Branch = None,
    allow: Allow = None,
    deny: Deny = None,
) -> None:
    """Write the documents of the current snapshot with their mentions, or only the mentions, as a table.

    With --branch, --allow or --deny, mentions of other concepts are written without an identifier, as by `link`.
    """
    from e2emern.tasks import export as exports

    selected = None
    if branch or allow or deny:
        from e2emern.tasks.concept_filter import read_selection

        selected = read_selection(home, branches=branch or (), allow=allow, deny=deny)
    if form.value in exports.TABLES:
        tabled = exports.read_tabled(home, selected=selected, min_score=min_score)
        written = exports.export_table(tabled, output, form=form.value)
    else:
        annotated = exports.read_annotated(home, selected=selected, min_score=min_score)
        written = exports.export(annotated, output, form=form.value, skip_full_text=skip_full_text)
    say(f"wrote {plural(written.documents, 'document')} with {plural(written.mentions, 'mention')} to {output}")
    if written.skipped:
        say(f"left out, because {form.value} cannot represent them: {plural(written.skipped, 'document')}")
    if written.overlapping:
        say(f"left out, because they overlap longer ones: {plural(written.overlapping, 'mention')}")
    if written.altered:
        changed = "characters that {} forbids were replaced one for one"
        if form in (ExportFormat.CSV, ExportFormat.TSV):
            changed = "in {} an apostrophe was put before text that begins like a formula, or tabs became spaces"
        say(f"in {plural(written.altered, 'document')}, {changed.format(form.value)}")

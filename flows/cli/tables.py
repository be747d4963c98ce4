"""What people ask of the tables: `export`, `sql`, `status`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.cli.application import TIMEOUT_S, Allow, AnswerFormat, Branch, Deny, Folder, Timeout, app, say
from tasks.errors import InputError
from warehouse.layout import Home
from warehouse.wording import plural


class ExportFormat(StrEnum):
    """How documents and mentions are written."""

    PUBTATOR = "pubtator"
    BIOC_XML = "bioc-xml"
    BIOC_JSON = "bioc-json"
    JSONL = "jsonl"


@app.command(epilog="Example: e2emern export --home home --format bioc-json --output annotated.json.gz")
def export(
    home: Folder,
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
    from tasks.export import export as export_to
    from tasks.export import read_annotated

    place, selected = Home(home), None
    if branch or allow or deny:
        from tasks.concept_filter import read_selection

        selected = read_selection(place, branches=branch or (), allow=allow, deny=deny)
    written = export_to(
        read_annotated(place, selected=selected), output, form=form.value, skip_full_text=skip_full_text
    )
    say(f"wrote {plural(written.documents, 'document')} with {plural(written.mentions, 'mention')} to {output}")
    if written.skipped:
        say(f"left out, as PubTator cannot hold them: {plural(written.skipped, 'document')}")
    if written.altered:
        altered = plural(written.altered, "document")
        say(f"in {altered}, characters that {form.value} forbids were replaced one for one")


@app.command(epilog="""Example: e2emern sql --home home "SELECT mesh_name, count(*) FROM mentions GROUP BY ALL" """)
def sql(
    query: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="One SELECT, DESCRIBE, SHOW TABLES or SUMMARIZE; - is standard input."),
    ],
    home: Folder,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Value of $NAME in the query, a text; without VALUE, NULL. May be repeated."
        ),
    ] = None,
    form: Annotated[AnswerFormat, typer.Option("--format", help="How to print the answer.")] = AnswerFormat.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 10_000,
    timeout: Timeout = TIMEOUT_S,
) -> None:
    """Answer a query of your own from the current snapshot; `e2emern query` has answers to common questions.

    Tables: documents, mentions, concepts, entities, entity_tree, failures, deletions, annotations,
    invalid_annotations, sources, files, superseded, hidden, runs, models, evaluations, checks, snapshot; DESCRIBE
    lists the columns of each.
    """
    from flows.cli.render import print_answer
    from warehouse.queries.sql import is_cut
    from warehouse.queries.sql import query as ask

    given = _standard_input() if query == "-" else query
    answer = ask(Home(home), given, parameters=_values(param or []), limit_rows=limit, timeout_s=timeout)
    print_answer(answer, form=form.value, console=Console())
    if is_cut(answer):
        say(f"cut after {plural(limit, 'row')}; raise --limit for more")


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise InputError(f"standard input: found {found}, expected text in {error.encoding}") from error


def _values(given: list[str]) -> dict[str, str | None]:
    """Parameters by name, as texts: DuckDB reads them as what they are compared with, as it does a quoted literal."""
    values: dict[str, str | None] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (name and equals):
            raise InputError(f"--param {each}: expected NAME=VALUE, such as --param year=2020")
        values[name] = text or None
    return values


@app.command(epilog="Example: e2emern status --home home")
def status(home: Folder) -> None:
    """Show what a home holds: its snapshot, its last run, damaged sources, failures and invalid annotations by kind."""
    from flows.cli.render import print_status
    from warehouse.queries.status import status as status_of

    print_status(status_of(Home(home)), console=Console())

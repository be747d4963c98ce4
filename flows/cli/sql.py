"""Answer an SQL query: `sql`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import TIMEOUT_S, AnswerFormat, Form, HomeFolder, Rows, Timeout
from e2emern.tasks.errors import InputError
from e2emern.warehouse.wording import plural


@app.command(epilog="""Example: e2emern sql --home home "SELECT mesh_name, count(*) FROM mentions GROUP BY ALL" """)
def sql(
    query: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="One SELECT, DESCRIBE, SHOW TABLES or SUMMARIZE; - is standard input."),
    ],
    home: HomeFolder,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Value of $NAME in the query, as text; NULL without =VALUE. May be repeated."
        ),
    ] = None,
    form: Form = AnswerFormat.TABLE,
    limit: Rows = 10_000,
    timeout: Timeout = TIMEOUT_S,
) -> None:
    """Run an SQL query on the current snapshot; `e2emern query` has queries for common questions.

    Tables: documents, mentions, concepts, entities, entity_tree, xrefs, failures, deletions, annotations,
    invalid_annotations, sources, files, superseded, hidden, runs, models, evaluations, checks, snapshot; DESCRIBE
    lists the columns of each.
    """
    from e2emern.flows.cli.render import print_answer
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.warehouse.queries.sql import is_cut
    from e2emern.warehouse.queries.sql import query as ask

    given = _standard_input() if query == "-" else query
    answer = ask(home, given, parameters=_values(param or []), limit_rows=limit, timeout_s=timeout)
    print_answer(answer, form=form.value, console=VisibleConsole())
    if is_cut(answer):
        say(f"cut after {plural(limit, 'row')}; raise --limit for more")


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise InputError(f"standard input: found {found}, expected text in {error.encoding}") from error


def _values(given: list[str]) -> dict[str, str | None]:
    """Return parameters by name, as strings: DuckDB casts them to the type they are compared with, like literals."""
    values: dict[str, str | None] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (name and equals):
            raise InputError(f"--param {each}: expected NAME=VALUE, such as --param year=2020")
        values[name] = text or None
    return values

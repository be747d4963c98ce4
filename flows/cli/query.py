"""Answer named queries: `query NAME`, a command for each `.sql` file of `warehouse.queries`, parameters as options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from e2emern.flows.cli.application import group, say
from e2emern.flows.cli.options import TIMEOUT_S, AnswerFormat, Form, HomeFolder, Rows, Timeout
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import TYPES, NamedQuery, Parameter, library
from e2emern.warehouse.wording import plural

_METAVARS = {
    "text": "TEXT",
    "integer": "N",
    "number": "X",
    "type": "TYPE",
    "concept": "ID_OR_NAME",
    "snapshot": "NUMBER",
}
_LIMIT = 100

query_app = group("query", says="Run a named query; `query NAME --help` lists its options.")


def _command(asked: NamedQuery) -> Callable[..., None]:
    """Return the function of one command; typer reads the options from its signature."""

    def run(home: Home, form: AnswerFormat, limit: int, timeout: float, **given: Any) -> None:
        from e2emern.flows.cli.render import print_answer
        from e2emern.flows.cli.terminal import VisibleConsole
        from e2emern.warehouse.queries.answers import is_cut
        from e2emern.warehouse.queries.saved import answer

        found = answer(home, asked.name, given, limit_rows=limit, timeout_s=timeout)
        print_answer(found, form=form.value, console=VisibleConsole())
        if is_cut(found):
            say(f"cut after {plural(limit, 'row')}; raise --limit for more")

    def show_sql(wanted: bool) -> None:
        if wanted:
            print(asked.sql, end="")
            raise typer.Exit

    fixed = [
        _option("home", HomeFolder, inspect.Parameter.empty),
        _option("form", Form, AnswerFormat.TABLE),
        _option("limit", Rows, _LIMIT),
        _option("timeout", Timeout, TIMEOUT_S),
        _option(
            "sql",
            Annotated[bool, typer.Option("--sql", is_eager=True, callback=show_sql, help="Print its SQL and exit.")],
            False,
        ),
    ]
    own = [_own_option(parameter) for parameter in asked.parameters]
    options = sorted(own + fixed, key=lambda one: one.default is not one.empty)
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # typer reads it, no function declares it
    run.__annotations__ = {}
    run.__doc__ = f"{asked.description}\n\n{asked.notes}".strip()
    return run


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _own_option(parameter: Parameter) -> inspect.Parameter:
    kind = TYPES[parameter.kind]
    option = typer.Option(
        f"--{parameter.name.replace('_', '-')}",
        metavar=_METAVARS[parameter.kind],
        help=f"{parameter.description[0].upper()}{parameter.description[1:]}.",
        show_default=parameter.default not in (None, "null") and (parameter.value is not None or parameter.default),
    )
    if parameter.required:
        return _option(parameter.name, Annotated[kind, option], inspect.Parameter.empty)
    return _option(parameter.name, Annotated[kind | None, option], parameter.value)


for _query in library().values():
    query_app.command(_query.name, short_help=_query.description, epilog=f"Example: {_query.example}")(_command(_query))

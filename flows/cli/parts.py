"""Building blocks of the command line: commands that refuse empty values, and help with commands in sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

SECTIONS = {
    "Annotate": {
        "annotate": "Annotate files and publish the tables",
        "text": "Annotate a text and print it",
        "demo": "Annotate the bundled sample",
        "ingest": "Fetch new and changed dump files",
        "link": "Link the mentions of a PubTator file",
        "backfill": "Annotate a home again with another model",
    },
    "Ask": {
        "explore": "Browse a home in your browser",
        "query": "Run a named query",
        "sql": "Run an SQL query",
        "show": "Print a document with its mentions",
        "trace": "Show a document, its mentions and history",
        "export": "Write PubTator, BioC, brat, CSV and more",
    },
    "Look after a home": {
        "status": "Show the state of a home",
        "report": "Write an HTML page with charts about a home",
        "doctor": "Check every file of a home",
        "drift": "Compare the last night with earlier ones",
        "sources": "List the sources, and withdraw one",
        "prune": "Delete old data that need not be kept",
        "snapshots": "List, compare, publish and roll back",
        "mesh": "Import and compare versions of MeSH",
        "models": "Judge, retrain, promote and roll back",
    },
    "Run it every night": {
        "server": "Start the Prefect server",
        "deploy": "Register what runs, and when",
        "worker": "Run flows for the server",
        "night": "Start a night now",
        "check": "Check what a night needs",
        "metrics": "Write metrics for Prometheus",
        "bench": "Measure this host, and plan a first load",
    },
    "Make and measure models": {
        "evaluate": "Score models on gold documents",
        "statistics": "Count documents, mentions and more of gold",
        "corpus": "Join gold files into one corpus",
        "train": "Train a model from a recipe",
        "pretrain": "Train an encoder further on plain text",
        "silver": "Tag plain text with several models",
        "average": "Average the weights of models",
    },
}
"""The commands and groups of `e2emern` in workflow order, with their lines in its help."""


class Command(TyperCommand):
    """A command that refuses an empty value, or an option as the value of another: unset variables cause both."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)  # --help ends here
        values, _, _ = self.make_parser(ctx).parse_args(args=given)
        options = {option for parameter in self.params for option in parameter.opts if option.startswith("--")}
        for parameter in cast(list[Any], self.params):  # typer types them as its base class
            value = values.get(parameter.name or "")
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, str) and not each.strip():
                    raise typer.BadParameter("the value is empty", ctx=ctx, param=parameter)
                if each in options:
                    raise typer.BadParameter(f"found the option {each}, expected a value", ctx=ctx, param=parameter)
        return rest


class Group(TyperGroup):
    """A group whose help lists its commands with uncut summaries; the top group lists them by `SECTIONS`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        top = ctx.parent is None
        summaries = {name: command.short_help or "" for name, command in self.commands.items()}
        width = max(map(len, summaries))
        for title, rows in (SECTIONS if top else {"Commands": summaries}).items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows.items()])


class Application(typer.Typer):
    """A `typer.Typer` with such commands and groups."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=Group, rich_markup_mode=None, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        """Return a decorator that adds a command."""
        return super().command(name, cls=Command, **options)

"""The options that several commands share, each with its name, help and parser in one place."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home

TIMEOUT_S = 300.0  # the same as in `warehouse.queries.sql`, which is too slow to import for --help
LARGEST_SEED = 10**12  # of a recipe


class Device(StrEnum):
    """The device for the model; `auto` is cuda if available."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class AnswerFormat(StrEnum):
    """The output format of the answer to a query."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def _any_home(given: str | Home) -> Home:
    """Return the home of this path; typer passes defaults, which are homes, through the parser too."""
    return given if isinstance(given, Home) else Home(Path(given))


def _home(given: str | Home) -> Home:
    """Return the home of this path, if it has the format of this release."""
    return open_home(_any_home(given).root)


def _option(parser: Callable[[str | Home], Home]) -> Any:
    return typer.Option("--home", parser=parser, envvar="E2EMERN_HOME", metavar="DIR", help="Folder of the tables.")


HomeFolder = Annotated[Home, _option(_home)]
OptionalHome = Annotated[Home | None, _option(_home)]
AnyHome = Annotated[Home, _option(_any_home)]
"""The home, for a command that checks its format itself."""
AnyOptionalHome = Annotated[Home | None, _option(_any_home)]
OnDevice = Annotated[Device, typer.Option("--device", help="Where the model runs.")]
Form = Annotated[AnswerFormat, typer.Option("--format", help="Output format.")]
Rows = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Print at most N rows.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Stop after this many seconds.")
]

Mesh = Annotated[
    Path,
    typer.Option(metavar="MESH", help="Entities table, or a MeSH version in the home.", show_default="the bundled one"),
]
Entities = Annotated[
    Path, typer.Option("--mesh", metavar="FILE", help="Entities table, Parquet.", show_default="the bundled one")
]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="As `models list` prints it.")]
Why = Annotated[str | None, typer.Option(metavar="WHY", help="Reason, recorded with your login name.")]

GoldFiles = Annotated[
    list[str], typer.Argument(metavar="GOLD...", help="FILE or CORPUS/SPLIT=FILE: PubTator, or what `corpus` wrote.")
]
Seen = Annotated[
    list[str] | None, typer.Option(metavar="GOLD", help="Training documents, for the floor and the seen slices.")
]
Branch = Annotated[
    list[str] | None,
    typer.Option(metavar="NUMBER", help="Link only to concepts at or below this tree number; may be repeated."),
]
Allow = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Link only to these ids, one per line, and to those under --branch.")
]
Deny = Annotated[Path | None, typer.Option(metavar="FILE", help="Do not link to these ids, one per line.")]
MinScore = Annotated[
    float | None,
    typer.Option("--min-score", min=0, max=1, metavar="X", help="Only mentions linked with at least this score."),
]

Config = Annotated[Path, typer.Option(metavar="FILE", help="TOML file, or a bundled recipe, such as ours or paper.")]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the gold files.", show_default="that of the TOML file")
]
Models = Annotated[
    list[Path], typer.Option("--model", metavar="DIR", help="A model folder; repeat the option for each.")
]
PlainText = Annotated[Path, typer.Option("--text", metavar="FILE", help="Text, one passage per line, plain or .xz.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, metavar="N", help="Seed of all random numbers.")]

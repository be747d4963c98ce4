"""The command line: each command is one call into flows, tasks or the warehouse, and what it prints.

Errors of ours are one line on standard error and exit code 1; wrong usage is 2, Ctrl-C is 130. What is slow to import
(torch, Prefect) is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from defaults import MESH, MODEL, SAMPLE
from tasks.errors import InputError
from warehouse.errors import WarehouseError
from warehouse.layout import Home

if TYPE_CHECKING:
    from flows.annotate import Outcome

app = typer.Typer(
    name="e2emern",
    help="Annotate PubMed and PubTator dumps with diseases and chemicals, linked to MeSH, in SQL tables.",
    epilog="Begin with: e2emern annotate --home home",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
mesh_app = typer.Typer(help="Make tables of the vocabulary.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(mesh_app, name="mesh")

_INTERRUPTED = 130  # exit code after Ctrl-C, as shells give it
_STOPPED = "stopped; what is done stays done, and running the same command again continues"

Folder = Annotated[Path, typer.Option("--home", metavar="DIR", help="Folder of the tables.")]


class Device(StrEnum):
    """Where the model runs; `auto` is cuda where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class ExportFormat(StrEnum):
    """How documents and mentions are written."""

    PUBTATOR = "pubtator"
    BIOC_XML = "bioc-xml"
    BIOC_JSON = "bioc-json"
    JSONL = "jsonl"


class AnswerFormat(StrEnum):
    """How the answer to a query is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app(prog_name="e2emern")
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            _say(_STOPPED)
        raise
    except KeyboardInterrupt:  # outside of typer, which makes it an exit
        _say(_STOPPED)
        sys.exit(_INTERRUPTED)
    except (InputError, WarehouseError) as error:
        _end(_one_line(error))
    except BrokenPipeError:  # the reader of a pipe has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename else _one_line(error))
    except Exception as error:  # a defect of ours; users get the line to report, not a traceback
        if "--verbose" in sys.argv:
            traceback.print_exc()
        _end(f"unexpected {type(error).__name__}: {_one_line(error)}; see where with --verbose, and report it")


@app.callback(invoke_without_command=True)
def top(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Annotate PubMed and PubTator dumps with diseases and chemicals, linked to MeSH, in SQL tables."""
    if show_version:
        print(f"e2emern {version('e2emern')}")
        raise typer.Exit


@app.command(epilog="Example: e2emern annotate pubmed26n0001.xml.gz 'updates/*.xml.gz' --home /data/home")
def annotate(
    home: Folder,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="Files, folders or glob patterns; without any, the bundled sample."),
    ] = None,
    model: Annotated[Path, typer.Option(metavar="DIR", help="Model folder.", show_default="the bundled one")] = MODEL,
    mesh: Annotated[
        Path, typer.Option(metavar="PATH", help="Entities table, Parquet.", show_default="the bundled one")
    ] = MESH,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.AUTO,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what Prefect logs, and where errors arise.")] = False,
) -> None:
    """Annotate PubMed XML, PubTator and BioC files, plain or gzip, and publish the tables.

    Sources that are done are skipped, so the same command continues after a stop and takes in new files only. Exit
    code 0 says that every record is accounted for.
    """
    from flows.temporary_server import temporary_server

    with temporary_server(verbose=verbose) as ready:
        import tasks.annotate  # noqa: F401 (torch is imported while the server starts)

        ready()
        from flows.annotate import WATCH, IncompleteError, Watch
        from flows.annotate import annotate as annotate_flow
        from flows.watching import TerminalWatch

        incomplete = None
        with TerminalWatch(Console(stderr=True)) as shown:
            token = WATCH.set(Watch(shown.sources, shown.names, shown.documents))
            try:
                outcome = annotate_flow(
                    inputs=inputs or [str(SAMPLE)], home=home, model=model, mesh=mesh, device=device.value
                )
            except IncompleteError as error:
                incomplete, outcome = error, error.outcome
            finally:
                WATCH.reset(token)
    _show_outcome(outcome, Home(home), sample=not inputs)
    if incomplete:
        raise incomplete


@app.command(epilog="Example: e2emern export --home home --format bioc-json --output annotated.json.gz")
def export(
    home: Folder,
    form: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="File to write; .gz packs it, - is standard output.")],
    skip_full_text: Annotated[
        bool, typer.Option("--skip-full-text", help="Leave out documents that PubTator cannot hold.")
    ] = False,
) -> None:
    """Write the documents of the current snapshot with their mentions."""
    from tasks.export import export as export_to
    from tasks.export import read_annotated

    written = export_to(read_annotated(Home(home)), output, form=form.value, skip_full_text=skip_full_text)
    _say(f"wrote {written.documents:,} documents with {written.mentions:,} mentions to {output}")
    if written.skipped:
        _say(f"left out {written.skipped:,} documents with full text")
    if written.altered:
        _say(f"in {written.altered:,} documents, characters that {form.value} forbids were replaced one for one")


@app.command(epilog="""Example: e2emern sql --home home "SELECT mesh_name, count(*) FROM mentions GROUP BY ALL" """)
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT, or DESCRIBE, SHOW TABLES, SUMMARIZE.")],
    home: Folder,
    form: Annotated[AnswerFormat, typer.Option("--format", help="How to print the answer.")] = AnswerFormat.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 10_000,
) -> None:
    """Answer a query from the current snapshot.

    Tables: documents, mentions, entities, entity_tree, failures, deletions, annotations, sources, superseded, runs,
    models, snapshot; DESCRIBE tells the columns of each.
    """
    from flows.answers import print_answer
    from warehouse.sql import is_cut
    from warehouse.sql import query as ask

    answer = ask(Home(home), query, limit_rows=limit)
    print_answer(answer, form=form.value, console=Console())
    if is_cut(answer):
        _say(f"only the first {limit:,} rows are shown; raise --limit for more")


@app.command(epilog="Example: e2emern status --home home")
def status(home: Folder) -> None:
    """Tell what a home holds: its snapshot, its last run, failures by reason, damaged sources."""
    from flows.answers import print_status
    from warehouse.status import status as status_of

    print_status(status_of(Home(home)), console=Console())


@mesh_app.callback()
def mesh() -> None:
    """Make tables of the vocabulary."""


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
    _say(f"wrote {writer.rows:,} concepts to {output}")


def _show_outcome(outcome: Outcome, home: Home, *, sample: bool) -> None:
    from flows.answers import show_outcome, show_sample

    console = Console()
    if sample and outcome.snapshot:
        show_sample(home, SAMPLE.name, console=console)
    show_outcome(outcome, home, console=console)


def _say(line: str) -> None:
    print(f"e2emern: {line}", file=sys.stderr)


def _end(line: str) -> None:
    _say(line)
    sys.exit(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()

"""The main job, `annotate`, and `demo`, which does it with the bundled sample."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2emern.defaults import MESH, SAMPLE
from e2emern.flows.cli.application import Examples, app, report_examples, say
from e2emern.flows.cli.options import Device, HomeFolder, Mesh, OnDevice
from e2emern.warehouse.layout import Home

if TYPE_CHECKING:
    from e2emern.flows.annotate import IncompleteError, Outcome
    from e2emern.tasks.parsers import Columns
    from e2emern.tasks.processes import Wanted

_STDIN = "-"
MOST = 256  # processes


def _column(of: str) -> Any:
    return typer.Option(metavar="NAME", help=f"Table column with the {of}.", show_default="guessed")


def _processes(given: str) -> Wanted:
    if given == "auto":
        return "auto"
    if not given.isdecimal() or not 1 <= int(given) <= MOST:
        raise typer.BadParameter(f"found {given!r}, expected auto or 1 to {MOST}")
    return int(given)


@app.command(epilog="Example: e2emern annotate pubmed26n0001.xml.gz 'updates/*.xml.gz' --home /data/home")
def annotate(
    context: typer.Context,
    home: HomeFolder,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Files, folders or glob patterns; - for standard input.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Model folder, or a model version in the home.",
            show_default="the home's champion, or the bundled one",
        ),
    ] = None,
    mesh: Mesh = MESH,
    device: OnDevice = Device.AUTO,
    processes: Annotated[
        Any,
        typer.Option(parser=_processes, metavar="N|auto", help="Processes that run the model; auto: one per core."),
    ] = "1",
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Do not publish; a later command can.")] = False,
    pmids: Annotated[
        str | None, typer.Option(metavar="FILE|ID,...", help="PMIDs of records to fetch from NCBI.")
    ] = None,
    id_column: Annotated[str | None, _column("ids")] = None,
    title_column: Annotated[str | None, _column("titles")] = None,
    abstract_column: Annotated[str | None, _column("abstracts")] = None,
    text_column: Annotated[str | None, _column("texts")] = None,
) -> None:
    """Annotate PubMed files, PubTator, BioC, tables and plain text, also compressed or in archives, and publish.

    A table is CSV, TSV, JSON lines or Parquet. Finished sources are skipped: run the same command again to continue
    after an interruption, or to add new files. Exit code 0 means that every record is accounted for.
    """
    from e2emern.tasks.parsers import Columns
    from e2emern.tasks.resolve import check_choices, check_no_sample, find_model

    if not inputs and pmids is None:
        context.fail("give files, folders or patterns, - for standard input, or --pmids; `e2emern demo` shows a sample")
    check_no_sample(home, sample=SAMPLE)
    columns = Columns(id_column, title_column, abstract_column, text_column)
    check_choices((), home=home, model=find_model(model, home=home), mesh=mesh)  # before anything is fetched
    paths, problems = _paths(inputs or [], pmids, home)
    outcome, incomplete = _annotate(
        paths,
        home=home,
        model=model,
        mesh=mesh,
        device=device,
        processes=processes,
        columns=columns,
        problems=problems,
        publishing=not no_publish,
    )
    _report(outcome, incomplete, home, note="Nothing was published, as --no-publish says" if no_publish else None)


@app.command(epilog="Example: e2emern demo --home demo")
def demo(
    home: HomeFolder = Home(Path("demo")),
    device: OnDevice = Device.AUTO,
) -> None:
    """Annotate the bundled sample of 26 invented abstracts, and show what was found.

    The sample needs a home of its own: it is never mixed with other sources.
    """
    from e2emern.flows.cli.render import show_sample
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.tasks.resolve import check_home_of_sample

    check_home_of_sample(home, sample=SAMPLE)
    outcome, incomplete = _annotate([str(SAMPLE)], home=home, model=None, mesh=MESH, device=device)
    if outcome.snapshot:
        show_sample(home, SAMPLE.name, console=VisibleConsole())
    _report(outcome, incomplete, home)


def _report(outcome: Outcome, incomplete: IncompleteError | None, home: Home, *, note: str | None = None) -> None:
    """Print the outcome of a run. Raises the error of incomplete sources."""
    from e2emern.flows.cli.render import show_outcome
    from e2emern.flows.cli.terminal import VisibleConsole

    show_outcome(outcome, home, console=VisibleConsole())
    if note:
        print(note)
    invalid = outcome.invalid_annotations(home)
    report_examples(invalid.kinds, invalid.examples)
    if incomplete:
        raise incomplete


def _paths(inputs: list[str], pmids: str | None, home: Home) -> tuple[list[str], dict[str, str]]:
    """Return the files to annotate, and the unusable inputs with reasons. Raises ProblemsError if no file is left."""
    from e2emern.tasks.errors import ProblemsError

    problems: dict[str, str] = {}
    paths = [str(_kept_input(home)) if each == _STDIN else each for each in inputs]
    if pmids is not None:
        paths += [str(path) for path in _fetched(pmids, home, problems)]
    if not paths:
        raise ProblemsError(f"{what}: {reason}" for what, reason in problems.items())
    return paths, problems


def _kept_input(home: Home) -> Path:
    from e2emern.tasks.ingest.standard_input import keep_input

    if sys.stdin.isatty():
        say("reading standard input; end it with Ctrl-D")
    return keep_input(sys.stdin.buffer, home=home)


def _fetched(pmids: str, home: Home, problems: dict[str, str]) -> list[Path]:
    """Fetch the missing records of a list of PMIDs, and return the files with all its records."""
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.flows.settings import read_settings
    from e2emern.tasks.ingest.pmids import Eutils, fetch_pmids, read_pmids

    settings = read_settings(home=home.root.absolute())
    key = settings.ncbi_api_key
    eutils = Eutils(url=settings.ncbi_url, api_key=key.get_secret_value() if key else None, email=settings.ncbi_email)
    numbers, unusable = read_pmids(pmids)
    with TerminalProgress() as progress:
        files, failed = fetch_pmids(numbers, home.inputs, eutils=eutils, progress=progress)
    problems |= unusable | failed
    return files


def _report_columns(files: list[Path], columns: Columns) -> None:
    """Report the columns of each table that are guessed from its name; the run reports what cannot be read."""
    from e2emern.tasks.errors import SourceError
    from e2emern.tasks.parsers import might_be_table, table_columns

    lines = Examples()
    for path in filter(might_be_table, files):
        with suppress(SourceError):
            if found := table_columns(path, columns=columns):
                lines.add("tables", f"{path.name}: {found}")
    lines.finish()


def _annotate(
    inputs: list[str],
    *,
    home: Home,
    model: Path | None,
    mesh: Path,
    device: Device,
    processes: Wanted = 1,
    columns: Columns | None = None,
    problems: dict[str, str] | None = None,
    publishing: bool = True,
) -> tuple[Outcome, IncompleteError | None]:
    """Annotate with progress on standard error; return the outcome, and the error if sources are incomplete."""
    from e2emern.tasks.parsers.columns import GUESSED
    from e2emern.tasks.resolve import check_choices, find_model

    files = check_choices(inputs, home=home, model=find_model(model, home=home), mesh=mesh)
    columns = columns or GUESSED
    _report_columns(files, columns)
    if device is Device.CUDA:
        from e2emern.tasks.devices import pick_device

        pick_device(device.value)
    from e2emern.flows.annotate import IncompleteError, annotate_sources
    from e2emern.flows.cli.progress import TerminalProgress

    with TerminalProgress() as progress:
        try:
            outcome = annotate_sources(
                inputs,
                home.root,
                model=model,
                mesh=mesh,
                device=device.value,
                processes=processes,
                columns=columns,
                problems=problems,
                publishing=publishing,
                progress=progress,
            )
            return outcome, None
        except IncompleteError as error:
            return error.outcome, error

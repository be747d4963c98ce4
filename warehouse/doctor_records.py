"""The doctor's checks of records: the format of the home, runs, rollbacks, models and evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from e2emern.warehouse.doctor_findings import Case, case, unreadable_case
from e2emern.warehouse.doctor_repairs import Shown, end, make_checkpoint, name_format, take_away
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.home_format import FormatError, check_format
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import check_judged
from e2emern.warehouse.registry.models import changes, check_files
from e2emern.warehouse.snapshots.refs import rollbacks, rollbacks_path
from e2emern.warehouse.sources.history import read_checkpoint
from e2emern.warehouse.sources.runs import may_be_running, read_run

_OF_PARSER = re.compile(r"\.[0-9a-f]{16}-[0-9]+\.parquet$")


def refuse_other_format(home: Home) -> None:
    """Raise `FormatError` for a home of another format: this release does not know what its files mean."""
    try:
        check_format(home)
    except FormatError as error:
        if error.code is None:
            raise
    except OSError:  # a check reports it
        pass


def check_home_format(home: Home, shown: Shown) -> Iterator[Case]:
    """Find a missing or damaged `format.json`. Raises `FormatError` for a home of another format.

    A repair writes it again if the documents name their parser and the current snapshot is as this release writes it.
    """
    try:
        check_format(home)
    except FormatError as error:
        names = [path.name for path in home.root.glob("documents/[!.]*.parquet")]
        proven = names and all(map(_OF_PARSER.search, names)) and shown.current in shown.good
        fix = partial(name_format, home) if proven else None
        yield case(home, error.code or "damaged-format", home.format, "is missing or damaged", fix)


def has_active_run(home: Home) -> bool:
    """Return whether a run of the home may still be running."""
    for path in home.runs.glob("*.json"):
        with suppress(WarehouseError, OSError):
            if may_be_running(home, read_run(path)):
                return True
    return False


def check_runs(home: Home) -> Iterator[Case]:
    """Find run records that cannot be read, and runs that were killed."""
    for path in sorted(home.runs.glob("*.json")):
        try:
            run = read_run(path)
        except OSError as error:
            yield unreadable_case(home, path, error)
            continue
        except WarehouseError:
            yield case(home, "damaged-run", path, "is not a valid run record", partial(take_away, home, path))
            continue
        if not (run.finished or run.error or may_be_running(home, run)):
            what = f"began {run.started[:19]} on {run.host} and never ended"
            yield case(home, "stale-run", path, what, partial(end, home, run))


def check_checkpoint(home: Home) -> Iterator[Case]:
    """Check the checkpoint of the run records; a repair rebuilds it from the records."""
    try:
        read_checkpoint(home)
    except WarehouseError:
        fix = partial(make_checkpoint, home)
        yield case(home, "damaged-checkpoint", home.runs_checkpoint, "differs from what was written", fix)


def check_rollbacks(home: Home) -> Iterator[Case]:
    """Check the record of rollbacks. No repair: without the record, withdrawn snapshots could be shown again."""
    try:
        rollbacks(home)
    except WarehouseError:
        yield case(home, "damaged-rollbacks", rollbacks_path(home), "is not a valid record of rollbacks")


def check_models(home: Home) -> Iterator[Case]:
    """Check the models and the champion. No repair: without the history, the bundled model would become champion."""
    folder = home.model("any").parent
    for path in sorted(folder.glob("[!.]*/")):
        try:
            if not (path / "added.json").exists():
                yield case(home, "damaged-model", path, "has no added.json")
            check_files(path)
        except WarehouseError as error:
            yield case(home, "damaged-model", error.path or path, error.reason.split(";")[0])
        except OSError as error:
            yield unreadable_case(home, path, error)
    try:
        changes(home)
    except WarehouseError:
        yield case(home, "damaged-champion", folder / "champion.json", "is not a valid champion history")


def check_evaluations(home: Home) -> Iterator[Case]:
    """Check the records of evaluations and their figures."""
    for path in sorted((home.root / "evaluations").glob("[!.]*/")):
        try:
            check_judged(home, path.name)
        except WarehouseError as error:
            what = error.reason.split(";")[0]
            yield case(home, "damaged-evaluation", path, what, partial(take_away, home, path))
        except OSError as error:
            yield unreadable_case(home, path, error)

"""Evaluations of models: one folder each, `evaluations/<id>/`, written once and never changed.

`figures.parquet` has the figures of the models, `report.md` is the report for readers. `verdict.json`, written last,
names the models and documents, and has the checks of the gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, file_name
from e2emern.warehouse.parquet import TableWriter, read_table
from e2emern.warehouse.registry.models import champion, changes, models
from e2emern.warehouse.sealed import seal, unseal

_ADVICE = "move its folder away and evaluate again (e2emern doctor: damaged-evaluation)"
_LEADING = ("f1", "accuracy@1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the promotion gate.

    Attributes:
        least: minimum for the challenger; for all documents together, minimum for `low`.
        low, high: 95 % interval of challenger - champion.
    """

    name: str
    champion: float | None
    challenger: float | None
    low: float | None = None
    high: float | None = None
    least: float | None
    passed: bool
    reason: str | None = None  # if it did not pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An evaluation of a model, with the champion if it was compared with one.

    `evaluated` is ISO 8601 in UTC. `passed` is None if nothing was compared.
    """

    evaluation: str
    evaluated: str
    challenger: str
    champion: str | None
    mesh_version: str
    checks: tuple[Check, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)  # what the challenger was trained on

    @property
    def passed(self) -> bool | None:
        return all(check.passed for check in self.checks) if self.checks else None

    @property
    def reasons(self) -> list[str]:
        """Reasons of the checks that did not pass."""
        return [check.reason or check.name for check in self.checks if not check.passed]


def write_judged(home: Home, judged: Judged, *, figures: pa.Table, report: str) -> None:
    """Write an evaluation: figures and report first, the verdict last."""
    make_home(home)
    folder = _folder(home, judged.evaluation)
    with TableWriter(folder / "figures.parquet", figures.schema) as writer:
        writer.append(figures)
    with atomic_write(folder / "report.md") as file:
        file.write(report.encode())
    with atomic_write(folder / "verdict.json") as file:
        file.write(seal(asdict(judged)))


def read_judged(home: Home, evaluation: str) -> Judged | None:
    """Return an evaluation, or None if there is none with this id. Raises `WarehouseError` if it is damaged."""
    path = _folder(home, evaluation) / "verdict.json"
    return _read(path) if path.exists() else None


def check_judged(home: Home, evaluation: str) -> None:
    """Check the record of an evaluation and its figures. Raises `WarehouseError` if one is missing or damaged."""
    folder = _folder(home, evaluation)
    if (folder / "verdict.json").exists():  # written last
        _figures(home, _read(folder / "verdict.json"))


def read_report(home: Home, evaluation: str) -> str:
    """Return the report of an evaluation."""
    return report_path(home, evaluation).read_text(encoding="utf-8")


def report_path(home: Home, evaluation: str) -> Path:
    """Return the file of the report of an evaluation."""
    return _folder(home, evaluation) / "report.md"


def evaluations(home: Home) -> list[Judged]:
    """Return all evaluations, oldest first. Raises `WarehouseError` if one is damaged."""
    found = [_read(path) for path in _folder(home, "any").parent.glob("*/verdict.json")]
    return sorted(found, key=lambda one: (one.evaluated, one.evaluation))


def headline(home: Home, judged: Judged) -> list[dict[str, Any]]:
    """Return the leading figure of each protocol for the evaluated model, over all documents."""
    table = _figures(home, judged)
    return [
        {name: row[name] for name in ("corpus", "split", "protocol", "entity_type", "figure", "value")}
        for row in table.to_pylist()
        if row["model_version"] == judged.challenger and row["slice"] == "all" and row["figure"] in _LEADING
    ]


def expired_models(home: Home, *, days: float) -> list[str]:
    """Return the versions of challengers that were refused more than `days` ago and can be deleted.

    Models that passed an evaluation, are or were the champion, or have mentions in the home are kept.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    promoted = {version for change in changes(home) for version in (change.champion, change.left)}
    verdicts: dict[str, list[Judged]] = {}
    for judged in evaluations(home):
        verdicts.setdefault(judged.challenger, []).append(judged)
    return [
        one.version
        for one in models(home)
        if one.version not in promoted
        and (of_it := verdicts.get(one.version))
        and all(judged.passed is False for judged in of_it)
        and datetime.fromisoformat(of_it[-1].evaluated) < before
        and not any(home.mentions_folders(one.version))
    ]


def model_rows(home: Home, *, shown: str) -> list[dict[str, Any]]:
    """Return the rows of the table `models`: the models of the home, and the one whose mentions are shown."""
    leading, judged = champion(home), {one.challenger: one for one in evaluations(home)}
    promoted = {change.champion: change.when for change in changes(home)}
    kept = {one.version: one for one in models(home)}
    rows = []
    for version in dict.fromkeys((*kept, shown)):
        model, verdict = kept.get(version), judged.get(version)
        metrics, made_from = (model.read("metrics.json"), model.read("recipe.json")) if model else (None, None)
        rows.append(
            {
                "model_version": version,
                "champion": version == leading,
                "added": model and datetime.fromisoformat(model.added),
                "promoted": datetime.fromisoformat(promoted[version]) if version in promoted else None,
                "evaluation": verdict and verdict.evaluation,
                "passed": verdict.passed if verdict else None,
                "reasons": "; ".join(verdict.reasons) or None if verdict else None,
                "recipe": made_from and json.dumps(made_from),
                "metrics": metrics and json.dumps(metrics),
            }
        )
    return rows


def figure_rows(home: Home) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `evaluations`: every figure of every evaluation."""
    for judged in evaluations(home):
        origin = {"evaluation": judged.evaluation, "evaluated": datetime.fromisoformat(judged.evaluated)}
        table = _figures(home, judged)
        yield from (origin | row for row in table.to_pylist())


def check_rows(home: Home) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `checks`: every check of every evaluation."""
    for judged in evaluations(home):
        versions = {"champion_version": judged.champion, "challenger_version": judged.challenger}
        for check in judged.checks:
            fields = asdict(check)
            yield {"evaluation": judged.evaluation, **versions, "name": fields.pop("name"), **fields}


def ledger(home: Home) -> list[str]:
    """Return lines that identify the rows of these tables: if they change, a new snapshot is published."""
    kept = [f"model {one.version}" for one in models(home)]
    judged = [f"evaluation {one.evaluation}" for one in evaluations(home)]
    return [*kept, *judged, *(f"champion {change.champion} {change.when}" for change in changes(home))]


def _folder(home: Home, evaluation: str) -> Path:
    return home.root / "evaluations" / file_name(evaluation)


def _figures(home: Home, judged: Judged) -> pa.Table:
    path = _folder(home, judged.evaluation) / "figures.parquet"
    try:
        return read_table(path)
    except WarehouseError as error:
        raise WarehouseError(f"is damaged; {_ADVICE}", path=path) from error


def _read(path: Path) -> Judged:
    try:
        fields = unseal(path.read_bytes())
        checks: Sequence[dict[str, Any]] = fields.pop("checks")
        return Judged(checks=tuple(Check(**check) for check in checks), **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WarehouseError(f"is not a valid evaluation record; {_ADVICE}", path=path) from error

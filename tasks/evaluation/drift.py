"""Detect drift: compare the volume, mentions, links, concepts and scores of a night with those of earlier nights.

Each figure is compared with the median of the earlier nights. It has drifted if it deviates by more than its limit and
by more than a number of robust standard deviations (1.4826 times the median absolute deviation; Hampel 1974), so that
normal variation raises no alarm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import list_vocabularies
from e2emern.warehouse.queries.nights import Night, nights
from e2emern.warehouse.registry.corrections import pending_corrections
from e2emern.warehouse.snapshots.publish_gate import total_variation
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.sources.history import read_history


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """How far a night may deviate from the earlier nights.

    Attributes:
        nights: compare with at most this many earlier nights.
        least_nights: with fewer earlier nights, nothing is compared.
        least_documents: a smaller night is compared only by volume, and other nights are not compared with it.
        volume: factor by which the number of documents may rise or fall.
        mentions_per_document: relative change.
        unlinked: change of the share of mentions without a concept.
        concept_mix: total variation distance of the shares of MeSH branches.
        scores: total variation distance of the shares of bins of link scores.
        deviations: robust standard deviations that count as normal.
    """

    nights: int = 28
    least_nights: int = 7
    least_documents: int = 500
    volume: float = 4.0
    mentions_per_document: float = 0.15
    unlinked: float = 0.05
    concept_mix: float = 0.10
    scores: float = 0.10
    deviations: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a night. `off` is its deviation from the usual value, and `limit` the largest normal deviation."""

    name: str
    usual: float | None  # None for a mix, which has no single value
    tonight: float | None
    off: float
    limit: float

    @property
    def drifted(self) -> bool:
        return self.off > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The figures of a night compared with earlier nights; no figures if there are too few nights."""

    date: str
    nights: int  # number of nights compared with
    figures: tuple[Figure, ...] = ()

    @property
    def drifted(self) -> list[str]:
        """The names of the figures that have drifted."""
        return [figure.name for figure in self.figures if figure.drifted]


def drift(tonight: Night, before: Sequence[Night], *, limits: DriftLimits | None = None) -> Drift:
    """Compare a night with the earlier nights."""
    limits = limits or DriftLimits()
    before = before[-limits.nights :]
    if len(before) < limits.least_nights:
        return Drift(date=tonight.date, nights=len(before))
    figures = [_volume(tonight, before, limits)]
    measures = [night for night in before if night.shown >= limits.least_documents]
    if tonight.shown >= limits.least_documents and len(measures) >= limits.least_nights:
        figures += [
            _number("mentions per document", _per_document(tonight), list(map(_per_document, measures)),
                    limit=limits.mentions_per_document * median(map(_per_document, measures)), limits=limits),
            _number("unlinked share", _unlinked(tonight), list(map(_unlinked, measures)),
                    limit=limits.unlinked, limits=limits),
            _mix("concept mix", tonight.branches, [night.branches for night in measures],
                 limit=limits.concept_mix, limits=limits),
            _mix("scores", _shares(tonight), list(map(_shares, measures)), limit=limits.scores, limits=limits),
        ]  # fmt: skip
    return Drift(date=tonight.date, nights=len(before), figures=tuple(figures))


def read_drift(home: Home, *, limits: DriftLimits | None = None) -> Drift | None:
    """Compare the last night of a home with the earlier nights; return None before the first snapshot."""
    limits = limits or DriftLimits()
    if current_snapshot(home) is None:
        return None
    found = nights(home, last=limits.nights + 1)
    return drift(found[-1], found[:-1], limits=limits) if found else None


@dataclass(frozen=True, slots=True)
class News:
    """New inputs: files of corrections that no retraining has used, and versions of MeSH that no run has linked to."""

    corrections: tuple[str, ...] = ()
    mesh: tuple[str, ...] = ()


def read_news(home: Home, *, corrections: Path | None = None) -> News:
    """Return the pending files of corrections (by default in `corrections` of the home), and new versions of MeSH."""
    reported = _reported_mesh(home)
    current = current_snapshot(home)
    linked = {run.versions.get("mesh") for run in read_history(home).runs} | {current.mesh_version if current else None}
    versions = sorted(one.mesh_version for one in list_vocabularies(home)) if home.root.is_dir() else []
    return News(
        corrections=tuple(pending_corrections(home, corrections)),
        mesh=tuple(version for version in versions if version not in linked and version not in reported),
    )


def note_news(home: Home, news: News) -> None:
    """Record that versions of MeSH were reported, so that each is reported once; corrections are news until used."""
    if news.mesh:
        with atomic_write(_reported_path(home)) as file:
            file.write(json.dumps({"mesh": sorted({*_reported_mesh(home), *news.mesh})}, indent=1).encode() + b"\n")


def _volume(tonight: Night, before: Sequence[Night], limits: DriftLimits) -> Figure:
    logs = [math.log1p(night.documents) for night in before]
    off = abs(math.log1p(tonight.documents) - median(logs))
    return Figure(
        name="documents",
        usual=median(night.documents for night in before),
        tonight=tonight.documents,
        off=off,
        limit=max(math.log(limits.volume), limits.deviations * _deviation(logs)),
    )


def _number(name: str, value: float, before: Sequence[float], *, limit: float, limits: DriftLimits) -> Figure:
    usual = median(before)
    return Figure(
        name=name,
        usual=usual,
        tonight=value,
        off=abs(value - usual),
        limit=max(limit, limits.deviations * _deviation(before)),
    )


def _mix(
    name: str, shares: Mapping[str, float], before: Sequence[Mapping[str, float]], *, limit: float, limits: DriftLimits
) -> Figure:
    """Compare the distance of a mix from the mean mix with the distances of the earlier mixes."""
    keys = {key for each in before for key in each}
    mean = {key: sum(each.get(key, 0.0) for each in before) / len(before) for key in keys}
    usual = [total_variation(one, mean) for one in before]
    return Figure(
        name=name,
        usual=None,
        tonight=None,
        off=total_variation(shares, mean),
        limit=max(limit, median(usual) + limits.deviations * _deviation(usual)),
    )


def _deviation(values: Sequence[float]) -> float:
    middle = median(values)
    return 1.4826 * median(abs(value - middle) for value in values)


def _per_document(night: Night) -> float:
    return night.mentions / max(night.shown, 1)


def _unlinked(night: Night) -> float:
    return (night.mentions - night.linked) / max(night.mentions, 1)


def _shares(night: Night) -> dict[str, float]:
    total = max(sum(night.scores), 1)
    return {str(place): count / total for place, count in enumerate(night.scores)}


def _reported_path(home: Home) -> Path:
    return home.root / "reported.json"


def _reported_mesh(home: Home) -> list[str]:
    path = _reported_path(home)
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_bytes())["mesh"])
    except (ValueError, TypeError, KeyError) as error:
        raise WarehouseError("is damaged; delete it, and news will be reported again", path=path) from error

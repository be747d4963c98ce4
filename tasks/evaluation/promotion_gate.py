"""The gate that a challenger has to pass before it replaces the champion.

Both models are scored on the same documents and timed on the same texts in one run. The challenger may not be worse by
more than a margin in overall `document` F1, with 95 % confidence (paired bootstrap over documents), nor in any slice.
It has to annotate real text with record counts that reconcile, and must not be much slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import Field

from e2emern.model.document import Text
from e2emern.model.evaluation.comparison import Comparison
from e2emern.model.evaluation.scores import Cell, Counts
from e2emern.model.evaluation.slices import ALL
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.timings import Report
from e2emern.tasks.annotate import annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.documents import parse_source, read_documents, text_of
from e2emern.tasks.errors import InputError
from e2emern.tasks.sources import find_sources
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import Check
from e2emern.warehouse.wording import plural

SLICES = ("string unseen", "concept unseen", "abbreviation")
"""The slices with their own margin."""


Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1, checked by Prefect: a margin of 2 would not mean two points, but let everything pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """By how much a challenger may be worse; shares of F1 between 0 and 1.

    Attributes:
        document: for the mean F1 over types, on all documents together; the 95 % interval of the difference must stay
        above -document.
        entity_type: for the F1 of one type in one corpus.
        unseen: for mentions whose text, or whose concepts, were not in training.
        abbreviation: for short forms.
        least_gold: minimum pairs of document and concept; a slice with fewer is reported but not judged.
        least_documents: minimum documents that no model has seen; with fewer, nothing is promoted.
        throughput: minimum documents per second, as a share of the champion's.
    """

    document: Share = 0.01
    entity_type: Share = 0.02
    unseen: Share = 0.03
    abbreviation: Share = 0.05
    least_gold: Annotated[int, Field(ge=0)] = 50
    least_documents: Annotated[int, Field(ge=1)] = 20
    throughput: Annotated[float, Field(ge=0)] = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoke:
    """The result of annotating a file of real text; `fault` is the error, or None."""

    documents: int = 0
    mentions: int = 0
    concepts: int = 0
    fault: str | None = None


def judge(
    comparison: Comparison,
    *,
    gold: Counts,
    smoke: Smoke,
    throughput: tuple[float, float],
    documents: int,
    margins: Margins,
) -> tuple[Check, ...]:
    """Return all checks of the gate, the most important first.

    `gold` are the challenger's counts, which hold the number of gold pairs of each slice. `documents` is the number of
    documents compared on. `throughput` is the champion's and the challenger's documents per second. Raises InputError
    if the comparison lacks protocol `document`.
    """
    if "document" not in comparison.pooled:
        raise InputError("the gate needs the protocol document")
    overall = comparison.pooled["document"]
    passed = overall.low >= -margins.document
    checks = [
        Check(
            name="document F1",
            champion=overall.champion,
            challenger=overall.challenger,
            low=overall.low,
            high=overall.high,
            least=-margins.document,
            passed=passed,
            reason=None
            if passed
            else f"document F1: {_percents(overall.champion, overall.challenger)}, possibly "
            f"worse by {-100 * overall.low:.1f}, margin {100 * margins.document:.1f}",
        )
    ]
    cells = sorted(filter(_is_judged, comparison.cells), key=lambda cell: (cell.slice != ALL, cell))
    checks += [_slice_check(cell, comparison, gold, margins) for cell in cells if gold[cell].any()]
    return (*checks, _documents_check(documents, margins), _smoke_check(smoke), _speed_check(*throughput, margins))


def annotate_sample(cascade: Cascade, sample: Path) -> Smoke:
    """Annotate a file as a run does, into a temporary home."""
    with TemporaryDirectory(prefix="e2emern-") as folder:
        try:
            (source,) = find_sources([sample])
            done = annotate_source(source, annotator=InProcess(cascade), home=Home(Path(folder)))
            done.summary.counts.check(source=source.key.name)
        except Exception as error:  # any error of a broken model is the reason to refuse it
            return Smoke(fault=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        counts = done.summary.counts
        fault = f"{plural(counts.unread, 'document')} could not be read" if counts.unread else None
        return Smoke(documents=counts.annotated, mentions=done.mentions, concepts=len(done.concepts), fault=fault)


def sample_texts(sample: Path) -> list[Text]:
    """Return the texts of a file, as input of the cascade."""
    with TemporaryDirectory(prefix="e2emern-") as folder:
        home, (source,) = Home(Path(folder)), find_sources([sample])
        parse_source(source, home=home, report=Report())
        return [text_of(document) for chunk in read_documents(home.documents(source.key)) for document in chunk]


def measure_throughput(
    champion: Cascade, challenger: Cascade, texts: Sequence[Text], *, rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:  # fmt: skip
    """Return the documents per second of both models: the best of several alternating rounds, after a warm-up.

    Args:
        clock: returns seconds.
    """
    best = [float("inf"), float("inf")]
    for number in range(rounds + 1):
        for at, cascade in enumerate((champion, challenger)):
            begun = clock()
            cascade.annotate(texts)
            if number:
                best[at] = min(best[at], clock() - begun)
    return len(texts) / best[0], len(texts) / best[1]


def _is_judged(cell: Cell) -> bool:
    return cell.protocol == "document" and cell.slice in (ALL, *SLICES)


def _slice_check(cell: Cell, comparison: Comparison, gold: Counts, margins: Margins) -> Check:
    difference = comparison.cells[cell]
    what = f"{cell.corpus}/{cell.split} {cell.entity_type}" + ("" if cell.slice == ALL else f", {cell.slice}")
    margin = {ALL: margins.entity_type, "abbreviation": margins.abbreviation}.get(cell.slice, margins.unseen)
    tp, _, fn = gold[cell].sum(0).tolist()
    not_judged = tp + fn < margins.least_gold
    passed = not_judged or difference.value >= -margin
    return Check(
        name=f"document F1, {what}",
        champion=difference.champion,
        challenger=difference.challenger,
        low=difference.low,
        high=difference.high,
        least=None if not_judged else difference.champion - margin,
        passed=passed,
        reason=None
        if passed
        else f"document F1, {what}: {_percents(difference.champion, difference.challenger)}, margin {100 * margin:.1f}",
    )


def too_few(documents: int, least: int) -> str:
    """Return why a gate with few unseen documents promotes nothing, and the remedy."""
    return (
        f"{plural(documents, 'document')} that no model has seen, expected {least}: correct more, since a quarter of "
        "the corrections is held back to judge, or name gold that is new to the champion"
    )


def _documents_check(documents: int, margins: Margins) -> Check:
    passed = documents >= margins.least_documents
    return Check(
        name="unseen documents",
        champion=None,
        challenger=float(documents),
        least=float(margins.least_documents),
        passed=passed,
        reason=None if passed else too_few(documents, margins.least_documents),
    )


def _smoke_check(smoke: Smoke) -> Check:
    fault = smoke.fault
    if fault is None and not smoke.concepts:
        found = f"{plural(smoke.mentions, 'mention')} of {plural(smoke.concepts, 'concept')}"
        fault = f"{found} in {plural(smoke.documents, 'document')}"
    return Check(
        name="concepts in the sample",
        champion=None,
        challenger=float(smoke.concepts),
        least=1.0,
        passed=fault is None,
        reason=fault and f"the sample: {fault}",
    )


def _speed_check(champion: float, challenger: float, margins: Margins) -> Check:
    passed = challenger >= champion * margins.throughput
    return Check(
        name="documents a second",
        champion=champion,
        challenger=challenger,
        least=champion * margins.throughput,
        passed=passed,
        reason=None
        if passed
        else f"documents a second: {champion:.1f} -> {challenger:.1f}, "
        f"expected at least {100 * margins.throughput:.0f} % of the champion's",
    )


def _percents(champion: float, challenger: float) -> str:
    return f"{100 * champion:.1f} -> {100 * challenger:.1f}"

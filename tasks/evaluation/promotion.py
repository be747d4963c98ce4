"""Evaluate a model against the champion of a home, apply the promotion gate, and keep the result in the home.

The name of an evaluation is derived from what it compares, so that a stored one is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2emern.defaults import SAMPLE
from e2emern.model.corpus import GoldDocument
from e2emern.model.evaluation.baselines import find_bounds
from e2emern.model.evaluation.comparison import compare
from e2emern.model.evaluation.evaluate import evaluate
from e2emern.model.evaluation.metrics import EVALUATIONS, tidy_rows
from e2emern.model.evaluation.report import write_report
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.progress import Progress, silent
from e2emern.tasks.evaluation.promotion_gate import Margins, annotate_sample, judge, measure_throughput, sample_texts
from e2emern.tasks.models import load, read_versions, read_vocabulary
from e2emern.warehouse.errors import OvertakenError, PublishRefusedError
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.registry.evaluations import Check, Judged, read_judged, write_judged
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import current_snapshot

PROTOCOLS = ("ner", "link", "mention", "document")


def assess(
    model: Path,
    *,
    champion: Path | None,
    home: Home,
    gold: Sequence[GoldDocument],
    seen: Sequence[GoldDocument],
    mesh: Path,
    margins: Margins | None = None,
    sample: Path = SAMPLE,
    device: str = "auto",
    data: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Judged:
    """Evaluate a model on gold documents, compare it with the champion if there is one, and keep the result.

    `seen` are the training documents: they give the floor, and define unseen mentions. `data` describes what the model
    was trained on. Raises InputError if a model or the vocabulary cannot be used.
    """
    margins = margins or Margins()
    version = read_versions(model, mesh).model
    other = read_versions(champion, mesh).model if champion else None
    vocabulary = read_vocabulary(mesh)
    made_of = (digest_file(mesh), asdict(margins), [_digest(documents) for documents in (gold, seen)])
    name = f"{version}-{other or 'alone'}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]}"
    if judged := read_judged(home, name):
        return judged
    slicer = Slicer.of(seen, canonical=vocabulary.canonical) if seen else Slicer.whole()
    bounds = find_bounds(gold, vocabulary, seen=seen, slicer=slicer)
    challenger = load(model, mesh, home=home, device=device)
    found = evaluate(challenger, gold, protocols=PROTOCOLS, slicer=slicer, progress=progress)
    evaluated, comparison, checks = [found], None, tuple[Check, ...]()
    if champion and other != version:
        cascade = load(champion, mesh, home=home, device=device)
        evaluated.append(evaluate(cascade, gold, protocols=PROTOCOLS, slicer=slicer, progress=progress))
        comparison = compare(evaluated[1].counts, found.counts)
        checks = judge(
            comparison,
            gold=found.counts,
            smoke=annotate_sample(challenger, sample),
            throughput=measure_throughput(cascade, challenger, sample_texts(sample)),
            margins=margins,
        )
    judged = Judged(
        evaluation=name,
        evaluated=datetime.now(UTC).isoformat(),
        challenger=version,
        champion=other,
        mesh_version=vocabulary.version,
        checks=checks,
        data=dict(data or {}),
    )
    rows = [row for one in evaluated for row in tidy_rows(one, bounds)]
    figures = pa.Table.from_pylist(rows, schema=EVALUATIONS)
    report = write_report([found], bounds, comparison)
    write_judged(home, judged, figures=figures, report="\n".join([*verdict_lines(judged), "", report]))
    return judged


def verdict_lines(judged: Judged) -> list[str]:
    """Return the verdict of the gate on a model, as Markdown."""
    if judged.passed is None:
        return [f"# Model {judged.challenger}", "", "Nothing was compared."]
    verdict = "passes the gate" if judged.passed else "is refused"
    lines = [f"# Model {judged.challenger} {verdict} against {judged.champion}", ""]
    lines += [f"* {reason}" for reason in judged.reasons]
    lines += ["", "| check | champion | challenger | 95 % interval | least | |", "|---|---|---|---|---|---|"]
    return lines + [_row(check) for check in judged.checks]


def _row(check: Check) -> str:
    percent = check.name.startswith("document F1")
    shown = [
        "" if value is None else f"{100 * value:.1f}" if percent else f"{value:.1f}"
        for value in (check.champion, check.challenger, check.least)
    ]
    interval = "" if check.low is None or check.high is None else f"{100 * check.low:+.1f} to {100 * check.high:+.1f}"
    mark = "not judged" if check.least is None else "passed" if check.passed else "**refused**"
    return f"| {check.name} | {shown[0]} | {shown[1]} | {interval} | {shown[2]} | {mark} |"


def publish_ledger(home: Home) -> str:
    """Publish a snapshot with the current models and evaluations; return a note if that is refused, else nothing."""
    while current := current_snapshot(home):
        try:
            publish(home, current.versions, operation="evaluate", over=current)
            break
        except OvertakenError:
            continue
        except PublishRefusedError as error:
            return f" (the tables show it when a snapshot is published again: {error})"
    return ""


def _digest(documents: Sequence[GoldDocument]) -> str:
    return hashlib.sha256(repr(documents).encode()).hexdigest()

"""Evaluate a model against the champion of a home, apply the promotion gate, and keep the result in the home.

The name of an evaluation is derived from what it compares, so that a stored one is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

from e2emern.defaults import SAMPLE
from e2emern.model.corpus import GoldDocument
from e2emern.model.evaluation.baselines import find_bounds
from e2emern.model.evaluation.comparison import compare
from e2emern.model.evaluation.evaluate import evaluate
from e2emern.model.evaluation.metrics import EVALUATIONS, tidy_rows
from e2emern.model.evaluation.report import write_report
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.inference.cascade import Cascade
from e2emern.model.progress import Progress, silent
from e2emern.model.seen import unseen
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.corrected import Effect, describe, effect_of
from e2emern.tasks.evaluation.promotion_gate import (
    Margins,
    Smoke,
    annotate_sample,
    judge,
    measure_throughput,
    sample_texts,
)
from e2emern.tasks.models import load, read_versions, read_vocabulary, seen_by
from e2emern.warehouse.errors import OvertakenError, PublishRefusedError
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.registry.evaluations import Check, Judged, read_judged, write_judged
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.wording import plural

PROTOCOLS = ("ner", "link", "mention", "document")
EFFECT = "corrected mentions"
"""Key of the effect of corrections in the record of an evaluation."""


class _Trials(TypedDict):
    smoke: Smoke
    throughput: tuple[float, float]


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
    corrected: Sequence[GoldDocument] = (),
    progress: Progress = silent,
) -> Judged:
    """Evaluate a model on gold documents, compare it with the champion if there is one, and keep the result.

    Models are compared on the gold that neither of them, nor an ancestor, has seen (`model.seen`). `seen` are the
    training documents: they give the floor, and define unseen mentions. `data` describes what the model was trained on,
    and `corrected` are documents on which the effect of corrections is counted. Raises InputError if a model or the
    vocabulary cannot be used, or if no unseen gold is left to compare on.
    """
    margins = margins or Margins()
    version = read_versions(model, mesh).model
    other = read_versions(champion, mesh).model if champion else None
    vocabulary = read_vocabulary(mesh)
    compared = champion is not None and other != version
    if champion and compared:
        gold = _unseen(gold, (champion, model))
    made_of = (digest_file(mesh), asdict(margins), [_digest(documents) for documents in (gold, seen)])
    name = f"{version}-{other or 'none'}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]}"
    if judged := read_judged(home, name):
        return judged
    slicer = Slicer.of(seen, canonical=vocabulary.canonical) if seen else Slicer.whole()
    bounds = find_bounds(gold, vocabulary, seen=seen, slicer=slicer)
    challenger = load(model, mesh, home=home, device=device)
    found = evaluate(challenger, gold, protocols=PROTOCOLS, slicer=slicer, progress=progress)
    evaluated, comparison, checks, effect = [found], None, tuple[Check, ...](), {}
    if champion and compared:
        cascade = load(champion, mesh, home=home, device=device)
        evaluated.append(evaluate(cascade, gold, protocols=PROTOCOLS, slicer=slicer, progress=progress))
        comparison = compare(evaluated[1].counts, found.counts)
        checks = judge(
            comparison, gold=found.counts, documents=len(gold), margins=margins, **_trials(cascade, challenger, sample)
        )
        effect = {EFFECT: asdict(effect_of(corrected, before=cascade, after=challenger))} if corrected else {}
    judged = Judged(
        evaluation=name,
        evaluated=datetime.now(UTC).isoformat(),
        challenger=version,
        champion=other,
        mesh_version=vocabulary.version,
        checks=checks,
        data=dict(data or {}) | effect,
    )
    figures = [row for one in evaluated for row in tidy_rows(one, bounds)]
    report = "\n".join([*verdict_lines(judged), "", write_report([found], bounds, comparison)])
    write_judged(home, judged, figures=pa.Table.from_pylist(figures, schema=EVALUATIONS), report=report)
    return judged


def _trials(champion: Cascade, challenger: Cascade, sample: Path) -> _Trials:
    """Return the gate's measurements on a file of real text."""
    texts = sample_texts(sample)
    return {"smoke": annotate_sample(challenger, sample), "throughput": measure_throughput(champion, challenger, texts)}


def _unseen(gold: Sequence[GoldDocument], models: Sequence[Path]) -> list[GoldDocument]:
    """Return the gold that no model has seen. Raises InputError if none is left, or a model's list is missing."""
    left = list(gold)
    for model in models:
        left = unseen(left, seen_by(model).all)
    if gold and not left:
        number = plural(len(gold), "document")
        raise InputError(f"the champion or the model has seen all of the {number} to compare on; name others")
    return left


def verdict_lines(judged: Judged) -> list[str]:
    """Return the verdict of the gate on a model, as Markdown."""
    if judged.passed is None:
        return [f"# Model {judged.challenger}", "", "Nothing was compared."]
    verdict = "passes the gate" if judged.passed else "is refused"
    lines = [f"# Model {judged.challenger} {verdict} against {judged.champion}", ""]
    lines += [f"* {reason}" for reason in judged.reasons]
    if effect := judged.data.get(EFFECT):
        lines += [f"* {describe(Effect(**effect))}"]
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
    """Publish a snapshot with the current models and evaluations; return a note if that is refused, else ""."""
    while current := current_snapshot(home):
        try:
            publish(home, current.versions, operation="evaluate", over=current)
            break
        except OvertakenError:
            continue
        except PublishRefusedError as error:
            return f" (the tables show it after the next publish: {error})"
    return ""


def _digest(documents: Sequence[GoldDocument]) -> str:
    return hashlib.sha256(repr(documents).encode()).hexdigest()

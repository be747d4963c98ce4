"""Prefect artifacts and log lines: progress bars, a log line for each file, a table for each night, evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from e2emern.flows.annotate import Outcome
from e2emern.flows.log_errors import log_errors_as_lines
from e2emern.tasks.annotate import Annotated
from e2emern.tasks.evaluation.drift import Drift
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import failures_in
from e2emern.warehouse.registry.evaluations import Judged, read_report, report_path
from e2emern.warehouse.wording import by_kind, plural

_NIGHT = ("documents", "mentions", "failures", "deletions", "invalid annotations")  # counts of a source
log_errors_as_lines()  # every deployed flow imports this module


def artifact_key(*words: str) -> str:
    """Return a key that Prefect allows: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def log_annotated(done: Annotated, *, seconds: float) -> None:
    """Log the counts and the rate of one annotated source."""
    name, counts = done.summary.key.name, done.summary.counts
    get_run_logger().info(
        f"{name}: {plural(counts.documents, 'document')}, {plural(done.mentions, 'mention')}, "
        f"{plural(counts.failed, 'failure')}, {plural(counts.deleted, 'deletion')}, "
        f"{plural(counts.invalid_annotations, 'invalid annotation')} "
        f"in {seconds:,.1f} s ({counts.documents / max(seconds, 1e-9):,.1f} documents/s)"
    )


def show_night(
    outcome: Outcome,
    home: Home,
    *,
    fetched: dict[str, int],
    seconds: float,
    drift: Drift | None = None,
    explorer: str | None = None,
) -> None:
    """Create the table of a night as an artifact of the run: a row for each source, and one for the total.

    Its description names the snapshot, failures by reason, the share of mentions without a concept, and the drift.

    Args:
        outcome: what was annotated.
        home: the home of the tables.
        fetched: number of files that were fetched, unchanged or failed.
        seconds: wall-clock seconds of the night.
        drift: the comparison with the nights before.
        explorer: address of the explorer.
    """
    rows: list[dict[str, Any]] = [
        {
            "source": one.summary.key.name,
            "documents": (counts := one.summary.counts).documents,
            "mentions": one.mentions,
            "failures": counts.failed,
            "deletions": counts.deleted,
            "invalid annotations": counts.invalid_annotations,
            "state": ": ".join(filter(None, (one.summary.status, one.summary.error))),
        }
        for one in outcome.annotated
    ]
    total = {name: sum(row[name] for row in rows) for name in _NIGHT}
    rate = total["documents"] / max(seconds, 1e-9)
    rows += [{"source": name, "state": f"failed: {reason}"} for name, reason in outcome.failed.items()]
    rows.append({"source": f"all {len(rows):,}", **total, "state": f"{rate:,.1f} documents/s over {seconds:,.0f} s"})
    create_table_artifact(
        rows,
        key=artifact_key("night", home.root.name),
        description="\n\n".join(_of_night(outcome, home, fetched, drift, explorer)),
    )


def _of_night(
    outcome: Outcome, home: Home, fetched: dict[str, int], drift: Drift | None, explorer: str | None
) -> Iterator[str]:
    """Yield the Markdown paragraphs above the table of a night."""
    files = ", ".join(f"{count:,} {kind}" for kind, count in fetched.items())
    yield f"Dump files: {files}. {plural(len(outcome.unchanged), 'source')} done before."
    if snapshot := outcome.snapshot:
        share = 1 - snapshot.linked / max(1, snapshot.mentions)
        yield (
            f"Now snapshot {snapshot.number} (`{home.snapshot(snapshot.number)}`): "
            f"{plural(snapshot.documents, 'document')}, {plural(snapshot.mentions, 'mention')}, "
            f"{share:.1%} of them without a concept."
        )
        if failures := failures_in(home, [one.summary.key.name for one in outcome.annotated]):
            yield f"Failures: {by_kind(failures)}."
    else:
        yield "Nothing was published."
    if invalid := by_kind(outcome.invalid_annotations(home).kinds):
        yield f"Invalid annotations: {invalid}."
    if drift:
        measures = (f"{one.name} off by {one.off:.3f}, limit {one.limit:.3f}" for one in drift.figures)
        yield f"Drift: {'; '.join(measures) or 'too few nights to compare'}."
    if explorer:
        yield f"[Nights, failures and growth in the explorer]({page(explorer, 'corpus')})"


def show_evaluation(home: Home, judged: Judged, *, explorer: str | None = None) -> None:
    """Show the report of an evaluation, which starts with the verdict of the gate, as an artifact of the run."""
    from e2emern.tasks.evaluation.corrected import Effect, describe  # imports torch, which nights do not need
    from e2emern.tasks.evaluation.promotion import EFFECT

    effect = judged.data.get(EFFECT)
    lines = [
        f"model {judged.challenger} against {judged.champion or 'nothing'}",
        *([describe(Effect(**effect))] if effect else []),
        f"report: {report_path(home, judged.evaluation)}",
        *([f"[all models]({page(explorer, 'models')})"] if explorer else []),
    ]
    create_markdown_artifact(
        read_report(home, judged.evaluation),
        key=artifact_key("evaluation", home.root.name),
        description="; ".join(lines),
    )


def page(explorer: str, name: str) -> str:
    """Return the address of a page of the explorer."""
    return f"{explorer.rstrip('/')}/{name}"

"""Print the results of commands: the answer to a query, the state of a home, the outcome of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
from rich.console import Console

from e2emern.flows.cli.terminal import (
    Level,
    Summary,
    VisibleConsole,
    show_document,
    show_line,
    show_summary,
    show_table,
)
from e2emern.flows.values import as_json, distinct, records_of, write_csv
from e2emern.flows.visible import visible_json
from e2emern.model.document import MENTION_FIELDS, Document, Mention, Passage
from e2emern.tasks.parsers.version import PARSER
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import MOST_EXAMPLES, by_kind, cut, examples, plural

if TYPE_CHECKING:
    from e2emern.flows.annotate import Outcome
    from e2emern.warehouse.queries.status import Status
    from e2emern.warehouse.queries.trace import Origin, Trace

STATUS_LINES = 40
"""Most lines of `e2emern status`, whatever the home holds."""
STATUS_WIDTH = 160
"""Most characters of a line of `e2emern status` if the output is not a terminal."""

_SHOWN_DOCUMENTS = 3

_RICHEST = """
SELECT document_id FROM mentions WHERE source = {source} AND mesh_id IS NOT NULL
GROUP BY document_id ORDER BY count(DISTINCT mesh_id) DESC, document_id LIMIT {limit}
"""
_FREQUENT = """
SELECT mesh_id, mesh_name, count(*) AS mentions, count(DISTINCT document_id) AS documents
FROM mentions WHERE mesh_id IS NOT NULL
GROUP BY ALL ORDER BY mentions DESC, mesh_id LIMIT 10
"""
_NEOPLASMS = """
SELECT mesh_name, list(DISTINCT text ORDER BY text) AS words, count(*) AS mentions
FROM mentions
WHERE mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = 'D009369')  -- Neoplasms and all below it
GROUP BY mesh_name ORDER BY mentions DESC, mesh_name LIMIT 10
"""


def print_answer(answer: pa.Table, *, form: str, console: VisibleConsole) -> None:
    """Print a table as `table`, `csv` (lists as JSON) or `json` (a list of objects).

    Repeated column names are numbered from the second on: `a`, `a_1`. Infinity and NaN are null in JSON, which is ASCII
    if the output is not UTF-8.
    """
    answer = answer.rename_columns(distinct(answer.column_names))
    if form == "table":
        show_table(answer, console=console, advice="widen the terminal or use --format csv")
    elif form == "json":
        ascii_only = not console.encoding.startswith("utf")
        rows = (json.dumps(as_json(row), ensure_ascii=ascii_only, default=str) for row in records_of(answer))
        console.write(visible_json("[" + ",\n ".join(rows)) + "]\n")
    else:
        write_csv(answer, console)


def print_status(status: Status, *, console: Console) -> None:
    """Print the state of a home, one fact on each line.

    Print at most `STATUS_LINES` lines, cut to the width of the terminal or to `STATUS_WIDTH`.
    """
    width = console.width if console.is_terminal else STATUS_WIDTH
    lines = [*_of_snapshot(status), *_of_last_run(status), f"champion {status.champion or 'the bundled model'}"]
    if waiting := len(status.backlog):
        wait = "1 dump file waits" if waiting == 1 else f"{waiting:,} dump files wait"
        lines.append(f"{wait}: {examples(status.backlog, separator=', ', most=3)}")
    if corrected := status.pending_corrections:
        number = plural(len(corrected), "corrected file")
        lines.append(f"{number} to train on: {examples(corrected, separator=', ', most=3)}")
    if other := sum(number for parser, number in status.parsers.items() if parser != PARSER):
        lines.append(f"{plural(other, 'source')} read by the parser of another release: annotate the dump files again")
    lines += _first([f"damaged: {source}: {error}" for source, error in status.damaged.items()], "damaged sources")
    reasons = [f"{plural(number, 'failure')}: {reason}" for reason, number in status.failures.items()]
    lines += _first(reasons, "kinds of failure; see e2emern query failures")
    if invalid := status.invalid_annotations:
        lines.append(f"{plural(sum(invalid.values()), 'invalid annotation')}: {by_kind(invalid)}")
    for line in lines:
        indent = "  " if line.startswith("  ") else ""
        show_line(indent + cut(line, width - len(indent)), console=console)


def print_status_json(status: Status, *, console: VisibleConsole) -> None:
    """Print the state of a home as one JSON object, with everything that `print_status` cuts or counts."""
    content = asdict(status) | {"linked_share": status.linked_share}
    console.write(visible_json(json.dumps(as_json(content), indent=1, default=str)) + "\n")


def _of_snapshot(status: Status) -> list[str]:
    snapshot = status.snapshot
    if snapshot is None:
        return ["no snapshot yet"]
    return [
        f"snapshot {snapshot.number} of {snapshot.created:%Y-%m-%d %H:%M} UTC, "
        f"model {snapshot.model_version}, MeSH {snapshot.mesh_version}",
        f"  {plural(snapshot.sources, 'source')}, {plural(snapshot.documents, 'document')}, "
        f"{plural(snapshot.mentions, 'mention')} ({status.linked_share:.1%} linked) of "
        f"{plural(snapshot.concepts, 'concept')}",
        f"  {plural(snapshot.failures, 'failure')}, {plural(snapshot.deletions, 'deletion')}, "
        f"{snapshot.superseded:,} superseded",
    ]


def _of_last_run(status: Status) -> list[str]:
    run = status.last_run
    if run is None:
        return []
    ended = f"finished {run.finished[:19]}" if run.finished else "not finished"
    outcomes = Counter(source.outcome for source in run.sources) + Counter(unchanged=run.unchanged)
    lines = [f"last run {run.run_id} on {run.host}, {plural(outcomes.total(), 'source')}, {ended}"]
    if outcomes:
        lines.append(f"  {by_kind(outcomes)}")
    lines += [f"  stopped: {run.error}"] if run.error else []
    return lines + ([f"  warning: {run.warning}"] if run.warning else [])


def _first(lines: list[str], noun: str) -> list[str]:
    """Return the first lines, and a line with the number of further ones; `noun` names them."""
    more = len(lines) - MOST_EXAMPLES
    return [*lines[:MOST_EXAMPLES], *([f"and {more:,} more {noun}"] if more > 0 else [])]


def print_trace(trace: Trace, *, console: Console) -> None:
    """Print a document with its mentions marked, a table of the mentions, and its history, one fact on each line."""
    say = partial(show_line, console=console)

    def of(origin: Origin) -> str:
        when = f", processed {origin.taken_in:%Y-%m-%d %H:%M} UTC by run {origin.run_id}" if origin.taken_in else ""
        software = f", e2emern {origin.software}" if origin.software else ""
        return f"{origin.source} ({origin.digest}) record {origin.record}{when}{software}"

    if trace.shown:
        _show_traced(trace, console=console)
        console.print("\nHistory", style="bold")
    else:
        say(f"document {trace.document_id}: not shown by the current snapshot")
    for revision in trace.revisions:
        by = f" by {revision.by_source} ({revision.by_digest})" if revision.by_source else ""
        published = f", published {revision.published}" if revision.published else ""
        text = f", text {revision.text_sha256[:12]}" if revision.text_sha256 else ", its files were pruned"
        version = f"version {revision.version or 1}"
        say(f"revision {version}{published}{text}: {revision.standing}{by}")
        say(f"  {of(revision.origin)}")
        if revision.title and revision is not trace.shown:
            say(f"  {revision.title}")
    for origin in trace.withdrawals:
        say(f"withdrawal: {of(origin)}")
    for one in trace.annotated:
        by = f" by run {one.run_id}" if one.run_id else ""
        versions = f"model {one.model_version}, MeSH {one.mesh_version}"
        say(f"{plural(one.mentions, 'mention')}, {one.linked:,} linked: {versions}{by}")
    for each in trace.appearances:
        which = f"snapshot {each.first}" if each.first == each.last else f"snapshots {each.first} to {each.last}"
        what = f"shown from {each.source} ({each.digest}) record {each.record}" if each.source else each.standing
        versions = f"model {each.model_version}, MeSH {each.mesh_version}"
        say(f"{which}, from {each.since:%Y-%m-%d %H:%M} UTC: {what}; {versions}")
    for invalid in trace.invalid_annotations:
        say(f"{plural(invalid['annotations'], 'invalid annotation')}: {invalid['kind']}")
        say(f"  {invalid['position']}: {invalid['reason']}")
    for failed in trace.failures:
        say(f"failure: {failed.reason}")
        say(f"  {of(failed.origin)}, {failed.position}")


def _show_traced(trace: Trace, *, console: Console) -> None:
    """Print the text of the current revision with its mentions marked, and a table with a row for each mention."""
    passages = tuple(Passage(**passage) for passage in trace.passages)
    mentions = [Mention(**{name: row[name] for name in MENTION_FIELDS}) for row in trace.mentions]
    show_document(Document(trace.document_id, 0, passages), mentions, console=console)
    if not any(passage.text for passage in passages):
        show_line("no title and no abstract", console=console)
    console.print()
    show_mentions(mentions, console=console, advice="widen the terminal or use --format json")


def show_mentions(mentions: Sequence[Mention], *, console: Console, advice: str) -> None:
    """Print a table with a row for each mention; `advice` says how to see columns that do not fit."""
    if not mentions:
        show_line("no mentions", console=console)
    rows = [
        {
            "words": one.text,
            "type": one.entity_type,
            "mesh_id": one.mesh_id,
            "mesh_name": one.mesh_name,
            "link": _rounded(one.link_score),
            "ner": _rounded(one.ner_score),
            "mid": _rounded(one.mid_score),
            "high": _rounded(one.high_score),
            "how": one.how,
        }
        for one in mentions
    ]
    show_table(rows, console=console, advice=advice)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 3)


def show_outcome(outcome: Outcome, home: Home, *, console: Console) -> None:
    """Print the outcome of a run, and the snapshot it published."""
    say = partial(show_line, console=console)

    if outcome.annotated:
        report, done = outcome.report, [one.summary for one in outcome.annotated]

        def took(*stages: str) -> float:
            return sum(report.seconds.get(stage, 0.0) for stage in stages)

        summary = Summary(
            documents=sum(one.counts.documents for one in done),
            mentions=sum(one.mentions for one in outcome.annotated),
            concepts=len(frozenset().union(*(one.concepts for one in outcome.annotated))),
            failures=sum(one.counts.failed for one in done),
            seconds=outcome.seconds,
            levels=[
                Level("low", "spans found", report.spans_found, took("low")),
                Level("mid", "candidates scored", report.candidates_scored, took("candidates", "mid")),
                Level("high", "mentions linked", report.mentions_linked, took("high", "features", "resolve")),
            ],
        )
        show_summary(summary, console=console)
        if invalid := sum(one.counts.invalid_annotations for one in done):
            say(f"{plural(invalid, 'invalid annotation')}; see e2emern query invalid-annotations --home {home.root}")
    if outcome.carried:
        say(f"{outcome.carried:,} of these documents have unchanged text: their mentions were reused")
    if outcome.unchanged:
        count = len(outcome.unchanged)
        sources = "1 source was" if count == 1 else f"{count:,} sources were"
        again = f"{sources} annotated before by model {outcome.versions.model}"
        say(again if outcome.annotated or outcome.failed else f"Nothing new: {again}")
    if outcome.withdrawn:
        what = examples(outcome.withdrawn, separator=", ", most=3)
        say(f"Withdrawn, so left out: {what}; to bring a file back, name it explicitly")
    if snapshot := outcome.snapshot:
        say(
            f"Snapshot {snapshot.number} of {home.root}: {plural(snapshot.documents, 'document')}, "
            f"{plural(snapshot.mentions, 'mention')} of {plural(snapshot.concepts, 'concept')}"
        )


def show_sample(home: Home, source: str, *, console: Console) -> None:
    """Print a few annotated documents of a source, the most frequent concepts, and a query with its answer."""
    from e2emern.tasks.export import read_annotated
    from e2emern.warehouse.queries.trusted import query_trusted
    from e2emern.warehouse.quoting import literal

    ids = set(
        query_trusted(home, _RICHEST.format(source=literal(source), limit=_SHOWN_DOCUMENTS))["document_id"].to_pylist()
    )
    chosen = ((document, mentions) for document, mentions in read_annotated(home) if document.document_id in ids)
    for document, mentions in islice(chosen, len(ids)):
        show_document(document, mentions, console=console)
        console.print()
    console.print("The ten most frequent concepts", style="bold")
    show_table(query_trusted(home, _FREQUENT), console=console)
    console.print("In SQL: every mention of a neoplasm", style="bold")
    console.print(_NEOPLASMS.strip(), markup=False, highlight=False, soft_wrap=True)
    show_table(query_trusted(home, _NEOPLASMS), console=console)

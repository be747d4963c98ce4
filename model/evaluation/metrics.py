"""The figures of an evaluation as a tidy table, one figure per row, for the warehouse and its queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2emern.model.evaluation.baselines import Bounds
from e2emern.model.evaluation.comparison import is_of_given_spans
from e2emern.model.evaluation.cutoffs import ByScore
from e2emern.model.evaluation.scores import Cell, Counts, Score, summed
from e2emern.model.evaluation.slices import ALL
from e2emern.model.files import write_table


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field[pa.DataType]:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


EVALUATIONS = pa.schema(
    [
        _column("model_version", pa.string(), "Version of the model"),
        _column("mesh_version", pa.string(), "Version of the vocabulary"),
        _column("corpus", pa.string(), "Name of the gold corpus"),
        _column("split", pa.string(), "Name of the split, such as dev; gold if the file names none"),
        _column("protocol", pa.string(), "ner, link, mention, document or paper"),
        _column(
            "slice", pa.string(), "all, or the group of mentions that the figure covers: string seen, refined, ..."
        ),
        _column("entity_type", pa.string(), "Disease or Chemical"),
        _column("figure", pa.string(), "precision, recall, f1, accuracy@1, exact_match or recall@k"),
        _column("value", pa.float64(), "The figure, from 0 to 1"),
        _column("tp", pa.int64(), "True positives"),
        _column("fp", pa.int64(), "False positives; null if gold spans are given", nullable=True),
        _column("fn", pa.int64(), "False negatives"),
        _column("documents", pa.int64(), "Documents of the split"),
        _column("floor", pa.float64(), "The same figure when the training mentions are looked up", nullable=True),
        _column(
            "ceiling",
            pa.float64(),
            "The same figure for the gold annotations, as far as the vocabulary has their concepts",
            nullable=True,
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The counts of one model; `by_score` is None if raw text was not annotated."""

    model_version: str
    mesh_version: str
    counts: Counts
    by_score: ByScore | None = None


def tidy_rows(evaluation: Evaluation, bounds: Bounds) -> list[dict[str, Any]]:
    """Return the figures of a model as rows of EVALUATIONS, without cells that have neither gold nor predictions."""
    cells = sorted(evaluation.counts)
    exact = [cell for cell in cells if cell.protocol == "link" and cell in bounds.exact_match]
    rows = []
    for cell, counts, only in [
        *((cell, evaluation.counts[cell], None) for cell in cells),
        *((cell, bounds.exact_match[cell], "exact_match") for cell in exact),
    ]:
        score = summed(counts)
        if not (score.tp + score.fp + score.fn):
            continue
        for name, value in _figures(cell, score):
            rows.append(
                {
                    "model_version": evaluation.model_version,
                    "mesh_version": evaluation.mesh_version,
                    "corpus": cell.corpus,
                    "split": cell.split,
                    "protocol": protocol_of(cell),
                    "slice": cell.slice,
                    "entity_type": cell.entity_type,
                    "figure": only or name,
                    "value": value,
                    "tp": score.tp,
                    "fp": None if is_of_given_spans(cell.protocol) else score.fp,
                    "fn": score.fn,
                    "documents": len(counts),
                    "floor": bound(bounds.floor, cell, name),
                    "ceiling": bound(bounds.ceiling, cell, name),
                }
            )
    return rows


def cutoff_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return precision and recall of a model at each cut-off of the link score, one row for each protocol and type."""
    return [
        {
            "corpus": f"{one.corpus}/{one.split}",
            "protocol": one.protocol,
            "entity_type": one.entity_type,
            "min_score": one.min_score,
            "precision": round(one.score.precision, 4),
            "recall": round(one.score.recall, 4),
            "tp": one.score.tp,
            "fp": one.score.fp,
            "fn": one.score.fn,
        }
        for one in (evaluation.by_score.cutoffs if evaluation.by_score else ())
    ]


def write_figures(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows of EVALUATIONS as Parquet, whole or not at all."""
    write_table(pa.Table.from_pylist(rows, schema=EVALUATIONS), path)


def wide_rows(evaluation: Evaluation, bounds: Bounds) -> list[dict[str, Any]]:
    """Return the figures of whole documents, one row for each corpus, protocol and type, as on a model card."""
    merged: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for row in tidy_rows(evaluation, bounds):
        if row["slice"] != ALL:
            continue
        key = (row["corpus"], row["split"], row["protocol"], row["entity_type"])
        wide = merged.setdefault(
            key, {"corpus": f"{key[0]}/{key[1]}", "protocol": row["protocol"], "entity_type": row["entity_type"]}
        )
        wide[row["figure"]] = round(row["value"], 4)
        if row["protocol"] != "link":
            wide |= {"tp": row["tp"], "fp": row["fp"], "fn": row["fn"]}
        if row["figure"] in ("f1", "accuracy@1"):
            wide |= {name: None if row[name] is None else round(row[name], 4) for name in ("floor", "ceiling")}
            wide |= {"mentions": row["tp"] + row["fn"]} if row["protocol"] == "link" else {}
    return list(merged.values())


def protocol_of(cell: Cell) -> str:
    """Return the protocol of a cell's figures; recall of the candidate stage belongs to `link`."""
    return "link" if is_of_given_spans(cell.protocol) else cell.protocol


def bound(counts: Counts, cell: Cell, figure: str) -> float | None:
    """Return the floor or ceiling of a figure; None if the cell has none."""
    if cell not in counts:
        return None
    return dict(_figures(cell, summed(counts[cell])))[figure]


def _figures(cell: Cell, score: Score) -> Iterator[tuple[str, float]]:
    if is_of_given_spans(cell.protocol):
        yield ("accuracy@1" if cell.protocol == "link" else cell.protocol), score.recall
    else:
        yield "precision", score.precision
        yield "recall", score.recall
        yield "f1", score.f1

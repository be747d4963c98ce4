"""An evaluation as a page: Markdown tables in per cent that are also readable in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from e2emern.model.cli import plural
from e2emern.model.evaluation.baselines import DEPTHS, Bounds
from e2emern.model.evaluation.comparison import (
    UNAIDED,
    Comparison,
    Difference,
    figure,
    is_of_given_spans,
    mean_and_range,
)
from e2emern.model.evaluation.metrics import Evaluation, bound
from e2emern.model.evaluation.scores import Cell, Score
from e2emern.model.evaluation.slices import ALL

_GIVEN = "Under `paper` the gold entities of each sentence were given to the model; real text comes without them."
_CUTOFFS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # shown on the page


def write_report(evaluations: Sequence[Evaluation], bounds: Bounds, comparison: Comparison | None = None) -> str:
    """Return the page for one model, or for several seeds of one: their mean and range in the cells that all share.

    Args:
        comparison: with another model, the champion.

    Raises:
        ValueError: no evaluation is given.
    """
    if not evaluations:
        raise ValueError("found no evaluation to report")
    versions = ", ".join(dict.fromkeys(evaluation.model_version for evaluation in evaluations))
    lines = ["# Evaluation", "", f"Model {versions}; MeSH {evaluations[0].mesh_version}; figures in per cent."]
    if len(evaluations) > 1:
        lines[-1] += f" Mean of {len(evaluations)} models, with the least and the greatest."
    cells = sorted(set.intersection(*(set(evaluation.counts) for evaluation in evaluations)), key=_order)
    for split in dict.fromkeys((cell.corpus, cell.split) for cell in cells):
        mine = [cell for cell in cells if (cell.corpus, cell.split) == split]
        documents = len(evaluations[0].counts[mine[0]])
        lines += ["", f"## {split[0]}/{split[1]}, {plural(documents, 'document')}", ""]
        lines += _aligned(_whole(evaluations, bounds, [cell for cell in mine if cell.slice == ALL]))
        if any(cell.protocol == "paper" for cell in mine):
            lines += ["", _GIVEN]
        given, unmapped = bounds.omim.get(split, (0, 0))
        if given:
            lines += ["", f"OMIM: {given} gold ids, {unmapped} ({unmapped / given:.1%}) map to no MeSH record."]
        sliced = [cell for cell in mine if cell.slice != ALL and not cell.protocol.startswith("recall@")]
        if sliced:
            lines += ["", *_aligned(_slices(evaluations, bounds, sliced))]
        scored = list(_by_score(evaluations, split))
        if len(scored) > 1:
            lines += ["", "With only the links of a minimum score:", "", *_aligned(iter(scored))]
    if comparison is not None:
        lines += ["", "## Against the other model", ""]
        lines += _aligned(_differences(comparison))
    return "\n".join(lines) + "\n"


def _whole(evaluations: Sequence[Evaluation], bounds: Bounds, cells: Sequence[Cell]) -> Iterator[list[str]]:
    yield ["type", "protocol", "P", "R", "F1 or accuracy", "floor", "ceiling", "exact match"]
    for cell in cells:
        name = _name(cell)
        if not any(evaluation.counts[cell].any() for evaluation in evaluations):
            continue
        precision, recall = ("", "") if is_of_given_spans(cell.protocol) else _both(evaluations, cell)
        yield [
            cell.entity_type,
            f"`{cell.protocol}`",
            precision,
            recall,
            _spread([_headline(evaluation, cell) for evaluation in evaluations]),
            _percent(bound(bounds.floor, cell, name)),
            _percent(bound(bounds.ceiling, cell, name)),
            _percent(bound(bounds.exact_match, cell, name) if cell.protocol == "link" else None),
        ]


def _slices(evaluations: Sequence[Evaluation], bounds: Bounds, cells: Sequence[Cell]) -> Iterator[list[str]]:
    yield ["type", "protocol", "slice", "gold", "F1 or accuracy", "floor", "ceiling"]
    for cell in cells:
        tp, _, fn = evaluations[0].counts[cell].sum(0).tolist()
        if tp + fn:
            yield [
                cell.entity_type,
                f"`{cell.protocol}`",
                cell.slice,
                str(tp + fn),
                _spread([_headline(evaluation, cell) for evaluation in evaluations]),
                _percent(bound(bounds.floor, cell, _name(cell))),
                _percent(bound(bounds.ceiling, cell, _name(cell))),
            ]


def _by_score(evaluations: Sequence[Evaluation], split: tuple[str, str]) -> Iterator[list[str]]:
    """Yield precision and recall at cut-offs of the link score, from the summed counts of all models."""
    yield ["type", "minimum score", "`mention` P", "R", "F1", "`document` P", "R", "F1"]
    summed: dict[tuple[str, float, str], Score] = {}
    for one in (one for evaluation in evaluations if evaluation.by_score for one in evaluation.by_score.cutoffs):
        if (one.corpus, one.split) == split and one.min_score in _CUTOFFS:
            key = (one.entity_type, one.min_score, one.protocol)
            before = summed.get(key, Score())
            mine = one.score
            summed[key] = Score(before.tp + mine.tp, before.fp + mine.fp, before.fn + mine.fn)
    for kind, least in dict.fromkeys(sorted(key[:2] for key in summed)):
        cells = [summed[kind, least, protocol] for protocol in ("mention", "document")]
        figures = [_percent(value) for each in cells for value in (each.precision, each.recall, each.f1)]
        yield [kind, f"{least:g}", *figures]


def _differences(comparison: Comparison) -> Iterator[list[str]]:
    yield ["corpus", "type", "protocol", "slice", "other", "this", "difference", "95 % interval"]

    def row(place: list[str], difference: Difference) -> list[str]:
        marked = " better" if difference.better else " worse" if difference.worse else ""
        return [
            *place,
            _percent(difference.champion),
            _percent(difference.challenger),
            f"{100 * difference.value:+.1f}{marked}",
            f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}",
        ]

    for protocol, difference in comparison.overall.items():
        yield row(["mean", "", f"`{protocol}`", ALL], difference)
    for cell in sorted(comparison.cells, key=_order):
        place = [f"{cell.corpus}/{cell.split}", cell.entity_type, f"`{cell.protocol}`", cell.slice]
        yield row(place, comparison.cells[cell])


def _name(cell: Cell) -> str:
    """Return the name of a cell's main figure."""
    if cell.protocol == "link":
        return "accuracy@1"
    return cell.protocol if is_of_given_spans(cell.protocol) else "f1"


def _headline(evaluation: Evaluation, cell: Cell) -> float:
    return float(figure(evaluation.counts[cell].sum(0), cell.protocol))


def _both(evaluations: Sequence[Evaluation], cell: Cell) -> tuple[str, str]:
    sums = [evaluation.counts[cell].sum(0) for evaluation in evaluations]
    precision = [float(tp / max(1, tp + fp)) for tp, fp, _ in sums]
    recall = [float(tp / max(1, tp + fn)) for tp, _, fn in sums]
    return _spread(precision), _spread(recall)


def _spread(values: Sequence[float]) -> str:
    mean, least, greatest = mean_and_range(values)
    return _percent(mean) + (f" ({_percent(least)} to {_percent(greatest)})" if len(values) > 1 else "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


_PROTOCOLS = ("ner", "mention", "document", "link", UNAIDED, *(f"recall@{depth}" for depth in DEPTHS))


def _order(cell: Cell) -> tuple[object, ...]:
    place = _PROTOCOLS.index(cell.protocol) if cell.protocol in _PROTOCOLS else len(_PROTOCOLS)
    return cell.corpus, cell.split, cell.entity_type, place, cell.slice != ALL, cell.slice


def _aligned(rows: Iterator[list[str]]) -> list[str]:
    """Return rows, the first of which is the heading, as a Markdown table with columns of one width."""
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]

"""The page of the models: versions, scores with intervals, learning curves, verdicts of the gate."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from e2emern.flows.explorer.site import page, site_of
from e2emern.model.evaluation.cutoffs import wilson
from e2emern.warehouse.registry.models import learning_curve

PROTOCOLS = {
    "ner": "spans",
    "link": "links of given spans",
    "mention": "spans with their concepts",
    "document": "concepts of a document",
    "paper": "the paper's protocol",
}


def models(request: Request) -> Response:
    """Answer `/models?protocol=mention&figure=f1`."""
    site = site_of(request)
    with site.snapshots.session() as session:
        listed, scores = session.figure("models-list"), session.figure("models-scores")
        protocols = [name for name in PROTOCOLS if any(row["protocol"] == name for row in scores.rows)]
        protocol = _chosen(request, "protocol", protocols, default="mention")
        figures = list(dict.fromkeys(row["figure"] for row in scores.rows if row["protocol"] == protocol))
        figure = _chosen(request, "figure", figures, default="f1")
        rows = [row for row in scores.rows if row["protocol"] == protocol and row["figure"] == figure]
        checks = session.figure("models-checks")
        return page(
            request,
            "models.html",
            session,
            title="Models",
            listed=listed,
            curves={
                each: learning_curve(site.home.model(each)) for each in (row["model_version"] for row in listed.rows)
            },
            scores=scores,
            protocols={name: PROTOCOLS[name] for name in protocols},
            protocol=protocol,
            figures=figures,
            chosen=figure,
            versions=list(dict.fromkeys(row["model_version"] for row in rows)),
            slices=_slices(rows),
            checks=checks,
            verdicts=[(name, list(group)) for name, group in groupby(checks.rows, key=lambda row: row["evaluation"])],
        )


def interval_of(row: dict[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure from its counts; None if it has none.

    Wilson's interval (1927), as if mentions were independent: it is too narrow if errors come in clusters. That of F1
    is the interval of tp / (tp + fp + fn), of which F1 is a function.
    """
    tp, fp, fn = row["tp"], row["fp"] or 0, row["fn"]
    trials = {"precision": tp + fp, "recall": tp + fn, "f1": tp + fp + fn}.get(row["figure"], tp + fn)
    if not trials:
        return None
    low, high = wilson(tp, trials)
    return (2 * low / (1 + low), 2 * high / (1 + high)) if row["figure"] == "f1" else (low, high)


def _chosen(request: Request, name: str, known: list[str], *, default: str) -> str:
    """Return the value of a query parameter if it is known, else the default or the first."""
    given = request.query_params.get(name, default)
    return given if given in known else next(iter(known), default)


def _slices(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each corpus, slice and type, with the score of each model under `scores`."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["corpus"], row["split"], row["slice"], row["entity_type"])
        one = found.setdefault(key, dict(zip(("corpus", "split", "slice", "entity_type"), key, strict=True)))
        one.setdefault("scores", {})[row["model_version"]] = row | {"interval": interval_of(row)}
    return list(found.values())

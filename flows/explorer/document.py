"""The page of a document: its text with marked mentions, details of each, its revisions and origin."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from e2emern.flows.explorer.annotator import AnnotatorError
from e2emern.flows.explorer.correct import name_of
from e2emern.flows.explorer.marks import Span, pieces, spans_of
from e2emern.flows.explorer.site import address, page, site_of
from e2emern.flows.visible import visible
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.queries.trace import trace

EVIDENCE = {
    "name": "the words are a name of the concept",
    "training": "training documents call the concept by these words",
    "variant": "the words are a variant of a name: plural, spelling or word order",
    "head": "the head noun is a name of the concept",
    "spelling": "the spelling is close to a name",
    "likeness": "the words share parts with a name",
    "bank": "the encoded words are near an encoded name",
    "mid": "the sentence mentions the concept (mid level)",
    "high": "these words mention the concept (high level)",
    "prior": "the concept is common in training documents",
}
"""The meaning of the values of `how`."""


def document(request: Request) -> Response:
    """Answer `/document/ID`."""
    wanted = request.path_params["document"]
    given = {"document": wanted}
    with site_of(request).snapshots.session() as session:
        figure = session.figure("document", given)
        lineage = session.figure("document-lineage", given)
        failures = session.figure("document-failures", given)
        if figure.first is None:
            message = f"Snapshot {session.snapshot.number} does not show a document {wanted!r}."
            values = {"message": message, "lineage": lineage, "failures": failures, "wanted": wanted}
            return page(request, "document-missing.html", session, status=404, title="No such document", **values)
        mentions = session.figure("document-mentions", given)
        spans = spans_of(mentions.rows)
        return page(
            request,
            "document.html",
            session,
            title=figure.first["title"] or f"Document {wanted}",
            document=figure.first,
            figure=figure,
            passages=marked(figure.first["passages"], spans),
            spans=spans,
            mentions=mentions,
            lineage=lineage,
            failures=failures,
            evidence=EVIDENCE,
            corrected=request.query_params.get("corrected") == name_of(wanted) and name_of(wanted),
        )


def history(request: Request) -> Response:
    """Answer `/history/ID`: the document in all snapshots that exist."""
    wanted = request.path_params["document"]
    site = site_of(request)
    with site.snapshots.session() as session:
        try:
            found = trace(site.home, wanted)
        except WarehouseError as error:
            return page(
                request, "missing.html", session, status=404, title="No history", message=str(error), concepts=()
            )
        return page(request, "history.html", session, title=f"History of {wanted}", trace=found, wanted=wanted)


def attention(request: Request) -> Response:
    """Answer `/attention/ID?mention=N&concept=ID`: the attention over the sentence of a mention, as JSON."""
    wanted, concept = request.path_params["document"], request.query_params.get("concept", "")
    with site_of(request).snapshots.session() as session:
        figure = session.figure("document", {"document": wanted})
        spans = spans_of(session.figure("document-mentions", {"document": wanted}).rows)
    place = request.query_params.get("mention", "")
    span = next((span for span in spans if str(span.number) == place), None)
    if figure.first is None or span is None:
        return JSONResponse({"error": "the document has no such mention"}, status_code=404)
    try:
        found = site_of(request).annotator.attention(sentence_of(figure.first["passages"], span), concept)
    except AnnotatorError as error:
        return JSONResponse({"error": visible(str(error))}, status_code=503)
    words = [{"text": visible(word["text"]), "weight": word["weight"]} for word in found["words"]]
    return JSONResponse({"name": visible(found["name"]), "words": words})


def candidates(request: Request) -> Response:
    """Answer `/candidates/ID`: the best concepts for each mention, as JSON, computed by the process of pasted text."""
    wanted = request.path_params["document"]
    with site_of(request).snapshots.session() as session:
        figure = session.figure("document", {"document": wanted})
        spans = spans_of(session.figure("document-mentions", {"document": wanted}).rows)
        shown = session.snapshot
    if figure.first is None:
        return JSONResponse({"error": "there is no such document"}, status_code=404)
    try:
        answer = site_of(request).annotator.candidates(figure.first["passages"])
    except AnnotatorError as error:
        return JSONResponse({"error": visible(str(error))}, status_code=503)
    found: dict[tuple[int, int, str], dict[str, dict[str, Any]]] = {}
    for row in answer["mentions"]:
        best = found.setdefault((row["start"], row["end"], row["entity_type"]), {})
        best |= {one["mesh_id"]: one for one in row["candidates"]}
    mentions = [
        {"number": span.number, "candidates": _best(found.get((span.start, span.end, span.entity_type), {}))}
        for span in spans
    ]
    model, mesh = answer["versions"]["model"], answer["versions"]["mesh"]
    note = f"of model {model} and MeSH {mesh}" if (model, mesh) != (shown.model_version, shown.mesh_version) else ""
    return JSONResponse({"note": visible(note), "mentions": mentions})


def _best(candidates: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    ranked = sorted(candidates.values(), key=lambda one: -one["link_score"])
    return [
        {
            "id": visible(one["mesh_id"]),
            "name": visible(one["mesh_name"]),
            "score": f"{one['link_score']:.3f}",
            "address": address("concept", one["mesh_id"]),
        }
        for one in ranked
    ]


def marked(passages: list[dict[str, Any]], spans: list[Span]) -> list[dict[str, Any]]:
    """Return the passages with their pieces."""
    return [one | {"pieces": list(pieces(one["text"], one["offset"], spans))} for one in passages]


def sentence_of(passages: list[dict[str, Any]], span: Span) -> str:
    """Return the sentence of a mention, split as the model's input is."""
    from e2emern.model.document import Document, Passage
    from e2emern.tasks.sentences import split_sentences

    parts = tuple(Passage(one["section"], one["offset"], one["text"]) for one in passages)
    sentences = split_sentences(Document("", 0, parts))
    return next((one.text for one in sentences if one.start <= span.start < one.end), span.text)

"""The try-it page: paste a text, and see it annotated."""

from __future__ import annotations

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from e2emern.flows.explorer.annotator import LONGEST_TEXT, AnnotatorError
from e2emern.flows.explorer.document import EVIDENCE, marked
from e2emern.flows.explorer.marks import spans_of
from e2emern.flows.explorer.security import read_form
from e2emern.flows.explorer.site import page, site_of

LONGEST_SHARED = 4_000  # characters of a text in an address
EXAMPLE = (
    "Naloxone reverses the antihypertensive effect of clonidine. In unanesthetized, spontaneously hypertensive rats "
    "the decrease in blood pressure and heart rate produced by intravenous clonidine was inhibited by naloxone."
)


async def tryit(request: Request) -> Response:
    """Answer `/try`, `/try?text=...` and the form of the page."""
    if request.method == "POST":
        fields = await read_form(request, secrets=site_of(request).secrets)
        if fields is None:
            return page(
                request, "message.html", status=403, title="Refused", message="The form does not come from this page."
            )
        text = dict(fields).get("text", "")
    else:
        text = request.query_params.get("text", "")
    return await anyio.to_thread.run_sync(_page, request, text)


def _page(request: Request, text: str) -> Response:
    site = site_of(request)
    spans, problem, versions = [], None, {}
    if text.strip():
        try:
            found = site.annotator.annotate(text)
            spans, versions = spans_of(found["mentions"]), found["versions"]
        except AnnotatorError as error:
            problem = str(error)
    return page(
        request,
        "try.html",
        title="Try it",
        text=text,
        example=EXAMPLE,
        longest=LONGEST_TEXT,
        shared=LONGEST_SHARED,
        problem=problem,
        passages=marked([{"section": "text", "offset": 0, "text": text}], spans) if text.strip() else [],
        spans=spans,
        versions=versions,
        evidence=EVIDENCE,
        running=site.annotator.running,
    )

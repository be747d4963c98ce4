"""The start page: find concepts by any name, documents by id or title, and words of mentions."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from e2emern.flows.explorer.site import address, page, site_of
from e2emern.flows.visible import visible

LONGEST_QUERY = 200  # characters
_SUGGESTED, _LISTED = 8, 20
_PMID = re.compile(r"pmid:?\s*(?=\d+\Z)", re.IGNORECASE)


def search(request: Request) -> Response:
    """Answer `/?q=...`."""
    text = _text(request)
    with site_of(request).snapshots.session() as session:
        found: dict[str, Any] = {}
        if text:
            given = {"text": text}
            found = {
                "concepts": session.concepts(text, most=_LISTED),
                "document": session.figure("search-document", given),
                "titles": session.figure("search-titles", given),
                "words": session.figure("search-words", given),
            }
        else:
            found = {"top": session.figure("corpus-concepts")}
        return page(request, "search.html", session, text=text, title=text or "Search", **found)


def suggest(request: Request) -> Response:
    """Answer `/search.json?q=...` with the concepts and the document that the text may mean."""
    text = _text(request)
    with site_of(request).snapshots.session() as session:
        found = [
            {
                "label": row["name"],
                "detail": f"{row['mesh_id']} · {row['entity_type']} · {row['mentions']:,} mentions",
                "also": row["words"] if row["words"] != row["name"].lower() else "",
                "address": address("concept", row["mesh_id"]),
            }
            for row in session.concepts(text, most=_SUGGESTED)
        ]
        if text and (document := session.figure("search-document", {"text": text}).first):
            label = {"label": document["title"], "detail": f"document {document['document_id']}", "also": ""}
            found.insert(0, label | {"address": address("document", document["document_id"])})
    return JSONResponse([{name: visible(value) for name, value in one.items()} for one in found])


def _text(request: Request) -> str:
    """Return what is searched for; `PMID: 11` is document 11."""
    return _PMID.sub("", request.query_params.get("q", "").strip()[:LONGEST_QUERY])

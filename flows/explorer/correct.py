"""The page that corrects a document: it writes a PubTator file into the folder of corrections, for retraining.

Off unless `e2emern explore --corrections` names a folder. The file of a document is replaced by its next correction.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from e2emern.flows.explorer.marks import spans_of
from e2emern.flows.explorer.security import read_form
from e2emern.flows.explorer.site import address, page, site_of
from e2emern.model.document import Document, Mention, Passage
from e2emern.model.notation import ENTITY_TYPES
from e2emern.tasks.exporters.pubtator import FORBIDDEN, SUBSTITUTE, unfit, write
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import file_name
from e2emern.warehouse.queries.explorer.session import Session

ADDED = 5  # empty lines for mentions that the model missed
UNLINKED = "-"


class CorrectionError(Exception):
    """A correction cannot be written; the message says what is wrong, in one line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the form: words of the text, their type, and ids joined by `|`; `keep` is false to remove them."""

    text: str
    start: int | None
    entity_type: str
    ids: str
    keep: bool = True


async def correct(request: Request) -> Response:
    """Answer `/correct/ID`: the form, or after it was sent, the page of the document."""
    fields = None
    if request.method == "POST":
        fields = await read_form(request, secrets=site_of(request).secrets)
        if fields is None:
            return page(
                request, "message.html", status=403, title="Refused", message="The form does not come from this page."
            )
    return await anyio.to_thread.run_sync(_correct, request, fields)


def _correct(request: Request, fields: list[tuple[str, str]] | None) -> Response:
    site, wanted = site_of(request), request.path_params["document"]
    if site.corrections is None:
        message = "Corrections are off; start e2emern explore with --corrections."
        return page(request, "message.html", status=403, title="Corrections are off", message=message)
    with site.snapshots.session() as session:
        found = session.figure("document", {"document": wanted}).first
        if found is None:
            message = f"Snapshot {session.snapshot.number} does not show a document {wanted!r}."
            return page(request, "message.html", session, status=404, title="No such document", message=message)
        document = _document(found)
        lines = _lines(session, wanted) if fields is None else read_lines(fields)
        problem = None
        if fields is not None:
            try:
                path = save(document, lines, folder=site.corrections, session=session)
                return RedirectResponse(address("document", wanted, corrected=path.name), status_code=303)
            except CorrectionError as error:
                problem = str(error)
        return page(
            request,
            "correct.html",
            session,
            status=422 if problem else 200,
            title=f"Correct {wanted}",
            document=document,
            lines=lines,
            added=ADDED,
            types=ENTITY_TYPES,
            problem=problem,
            unfit=unfit(document),
            folder=str(site.corrections),
            path_of_file=str(site.corrections / name_of(wanted)),
        )


def name_of(document_id: str) -> str:
    """Return the name of the file with the correction of a document."""
    return f"explorer.{file_name(document_id)}.pubtator"


def read_lines(fields: Sequence[tuple[str, str]]) -> list[Line]:
    """Return the lines of the form; empty ones are left out."""
    columns: dict[str, list[str]] = {}
    for name, value in fields:
        columns.setdefault(name, []).append(value)
    removed = set(columns.get("remove", []))
    rows = zip(*(columns.get(name, []) for name in ("text", "start", "type", "ids")), strict=False)
    return [
        Line(text, int(start) if start.isdecimal() else None, kind, ids.strip(), str(place) not in removed)
        for place, (text, start, kind, ids) in enumerate(rows)
        if text
    ]


def save(document: Document, lines: Sequence[Line], *, folder: Path, session: Session) -> Path:
    """Write the corrected document, and return the path of its file. Raises `CorrectionError`."""
    if reason := unfit(document):
        raise CorrectionError(f"PubTator cannot represent a document with {reason}")
    mentions = [mention for line in lines if line.keep for mention in mentions_of(document, line, session=session)]
    if not mentions:
        raise CorrectionError("no mention is left; a document without any would not be trained on")
    if len({(one.start, one.end, one.entity_type, one.mesh_id) for one in mentions}) < len(mentions):
        raise CorrectionError("the same words are marked twice with one type and concept")
    out = io.BytesIO()
    write([(_writable(document), mentions)], out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name_of(document.document_id)
    with atomic_write(path) as file:
        file.write(out.getvalue())
    return path


def mentions_of(document: Document, line: Line, *, session: Session) -> list[Mention]:
    """Return the mentions of one line: one for each concept. Raises `CorrectionError`."""
    if line.entity_type not in ENTITY_TYPES:
        raise CorrectionError(f"{line.text!r}: found type {line.entity_type!r}, expected {' or '.join(ENTITY_TYPES)}")
    start, end = _place(document.text, line)
    found = []
    for part in (part.strip() for part in (line.ids or UNLINKED).split("|")):
        mesh_id = None if part == UNLINKED else _concept(part, line, session)
        found.append(Mention(start, end, document.text[start:end], line.entity_type, 0, 1.0, mesh_id=mesh_id))
    return found


def _place(text: str, line: Line) -> tuple[int, int]:
    """Return where the words of a line are; without a start, the only place where the text has them."""
    if line.start is not None:
        if text[line.start : line.start + len(line.text)] != line.text:
            found = text[line.start : line.start + len(line.text)]
            raise CorrectionError(f"at {line.start} the text has {found!r}, the form {line.text!r}")
        return line.start, line.start + len(line.text)
    start = text.find(line.text)
    if start < 0:
        raise CorrectionError(f"the text does not have the words {line.text!r}")
    if (again := text.find(line.text, start + 1)) >= 0:
        raise CorrectionError(f"the text has {line.text!r} at {start} and {again}; give the start")
    return start, start + len(line.text)


def _concept(given: str, line: Line, session: Session) -> str:
    wanted = given.removeprefix("MESH:").removeprefix("OMIM:").lower()
    found = session.concepts(given, most=20) or session.concepts(wanted, most=20)
    exact = {row["mesh_id"] for row in found if row["mesh_id"].lower() == wanted} or {
        row["mesh_id"] for row in found if row["words"] == given.lower()
    }
    if len(exact) != 1:
        several = f"{given!r} is a name of {', '.join(sorted(exact))}" if exact else f"no concept {given!r}"
        raise CorrectionError(f"{line.text!r}: {several}; give an id of MeSH {session.snapshot.mesh_version}, or -")
    return str(exact.pop())


def _lines(session: Session, document_id: str) -> list[Line]:
    spans = spans_of(session.figure("document-mentions", {"document": document_id}).rows)
    return [
        Line(
            span.text,
            span.start,
            span.entity_type,
            "|".join(mention["mesh_id"] or UNLINKED for mention in span.mentions),
        )
        for span in spans
    ]


def _document(row: dict[str, Any]) -> Document:
    passages = tuple(Passage(one["section"], one["offset"], one["text"]) for one in row["passages"])
    return Document(row["document_id"], row["record"], passages, pmid=row["pmid"])


def _writable(document: Document) -> Document:
    """Replace each character that PubTator cannot represent by a space, which keeps all offsets."""
    passages = tuple(Passage(one.section, one.offset, FORBIDDEN.sub(SUBSTITUTE, one.text)) for one in document.passages)
    return Document(document.document_id, document.record, passages, pmid=document.pmid)

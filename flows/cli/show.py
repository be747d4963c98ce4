"""Print documents with their mentions marked: `show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder, MinScore
from e2emern.tasks.errors import ProblemsError

if TYPE_CHECKING:
    from e2emern.model.document import Document, Mention


@app.command(epilog="Example: e2emern show 99000016 --home home")
def show(
    documents: Annotated[list[str], typer.Argument(metavar="PMID...", help="PMIDs, or a source's own document ids.")],
    home: HomeFolder,
    min_score: MinScore = None,
) -> None:
    """Show documents of the current snapshot: the text with its mentions in colour, and their concepts.

    If the output is not a terminal, a mention is [words|concept]. `trace` shows a document's scores and history.
    """
    from e2emern.flows.cli.terminal import VisibleConsole, show_document, show_line, show_table
    from e2emern.tasks.export import read_one

    console = VisibleConsole()
    missing = []
    for document_id in dict.fromkeys(documents):
        found = read_one(home, document_id, min_score=min_score)
        if found is None:
            missing.append(f"{document_id}: not in the current snapshot; e2emern trace {document_id} shows its history")
            continue
        document, mentions = found
        show_document(document, mentions, console=console)
        if facts := ", ".join(filter(None, (document.journal, document.published))):
            show_line(facts, console=console)
        console.print()
        if rows := _concepts(document, mentions):
            show_table(rows, console=console)
        else:
            show_line("no mentions", console=console)
    if missing:
        raise ProblemsError(missing)


def _concepts(document: Document, mentions: Sequence[Mention]) -> list[dict[str, Any]]:
    """Return a row for each concept, in the order of the text; words without a concept have rows of their own."""
    found: dict[tuple[str, str], list[Mention]] = {}
    for one in mentions:
        found.setdefault((one.entity_type, one.mesh_id or one.text.lower()), []).append(one)
    return [
        {
            "mesh_id": same[0].mesh_id,
            "mesh_name": same[0].mesh_name,
            "type": same[0].entity_type,
            "mentions": len(same),
            "words": list(dict.fromkeys(one.text for one in same)),
            "score": _best([one.link_score for one in same]),
        }
        for same in found.values()
    ]


def _best(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return round(max(known), 3) if known else None

"""Write the documents worth correcting as PubTator files, with their mentions from the tables.

A user corrects a file and moves it into the folder of corrections. Files that wait for this are neither replaced nor
deleted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.export import export, read_one
from e2emern.tasks.models import seen_by
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.resolve import find_model
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home, file_name
from e2emern.warehouse.queries.worth_correcting import Worth, worth_correcting
from e2emern.warehouse.registry.corrections import correction_files
from e2emern.warehouse.snapshots.reader import current_snapshot

MOST = 20
"""Maximum documents that wait to be corrected."""
REASONS = "reasons.tsv"
_SUFFIX = ".pubtator"


def choose_to_correct(home: Home, *, most: int = MOST) -> list[Worth]:
    """Write documents worth correcting into `to-correct` of the home until `most` wait there; return the new ones.

    Documents that already wait, are corrected, or were seen by the champion, and those that PubTator cannot represent,
    are left out. Without a snapshot, none are written. Raises InputError if it is unknown what the champion has seen.
    """
    folder = home.to_correct
    waiting = {path.name for path in correction_files(folder) if path.suffix == _SUFFIX}
    if current_snapshot(home) is None or len(waiting) >= most:
        return []
    without = {*seen_by(find_model(None, home=home)).all, *_corrected(home), *_ids(folder, waiting)}
    chosen: list[Worth] = []
    for one in worth_correcting(home, most=2 * most, without=without):
        found = read_one(home, one.document_id)
        if found is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{file_name(one.document_id)}{_SUFFIX}"
        if not export([found], path, form="pubtator", skip_full_text=True).documents:
            path.unlink()
            continue
        chosen.append(one)
        if len(waiting) + len(chosen) == most:
            break
    if chosen:
        _note_reasons(folder, chosen)
    return chosen


def _corrected(home: Home) -> set[str]:
    return _ids(home.corrections, {path.name for path in correction_files(home.corrections)})


def _ids(folder: Path, names: set[str]) -> set[str]:
    """Return the ids of the documents of PubTator files, as far as they can be read."""
    found: set[str] = set()
    for name in names:
        with suppress(SourceError):
            records = parse_pubtator(folder / name)
            found |= {one.document_id for one in records if isinstance(one, Document | Failure) and one.document_id}
    return found


def _note_reasons(folder: Path, chosen: list[Worth]) -> None:
    path = folder / REASONS
    before = path.read_bytes() if path.exists() else b"document_id\treason\n"
    with atomic_write(path) as file:
        file.write(before + "".join(f"{one.document_id}\t{one.reason}\n" for one in chosen).encode())

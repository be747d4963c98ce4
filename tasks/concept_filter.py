"""Select the concepts that mentions may be linked to: by branches of the MeSH trees, and by lists of ids in files.

The filter applies to links, not to candidates: a mention whose best concept is not selected gets no concept. So
filtering stored links gives the same result as linking with the same selection.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from e2emern.model.document import Mention
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_vocabulary
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import entities_path
from e2emern.warehouse.snapshots.reader import read_snapshot


def select_concepts(
    vocabulary: Vocabulary, *, branches: Sequence[str] = (), allow: Path | None = None, deny: Path | None = None
) -> np.ndarray:
    """Return which concepts are selected, bool (concepts,), as `Vocabulary.select` does; read the lists from files.

    A list has one id per line. Text after an id is ignored, and so are lines that begin with #. Raises InputError if a
    list is not UTF-8 text, an id is not in the vocabulary, or a branch has no concepts, and OSError if a list does not
    exist.
    """
    allowed, denied = (_ids(each) if each else [] for each in (allow, deny))
    try:
        return vocabulary.select(branches=branches, allow=allowed, deny=denied)
    except ValueError as error:
        raise InputError(str(error)) from error


def read_selection(
    home: Home, *, branches: Sequence[str] = (), allow: Path | None = None, deny: Path | None = None
) -> frozenset[str]:
    """Return the selected ids of the vocabulary of a home's current snapshot.

    Raises the errors of `select_concepts`, and WarehouseError if nothing was published.
    """
    vocabulary = read_vocabulary(entities_path(home, mesh_version=read_snapshot(home).mesh_version))
    selection = select_concepts(vocabulary, branches=branches, allow=allow, deny=deny)
    return frozenset(vocabulary.concepts[at].mesh_id for at in np.flatnonzero(selection))


def keep_links(mentions: Sequence[Mention], selected: Container[str]) -> list[Mention]:
    """Return the mentions of a document with the selected links only, in order.

    A span of which no concept is selected keeps one mention, without a concept and without link scores.
    """
    linked = {_place(one) for one in mentions if one.mesh_id in selected}
    kept: dict[tuple[int, int, str, str | None], Mention] = {}
    for one in mentions:
        if one.mesh_id in selected:
            kept[*_place(one), one.mesh_id] = one
        elif _place(one) not in linked:
            kept[*_place(one), None] = _unlinked(one)
    return list(kept.values())


def _unlinked(mention: Mention) -> Mention:
    return replace(mention, mesh_id=None, mesh_name=None, mid_score=None, high_score=None, link_score=None, how=None)


def _place(mention: Mention) -> tuple[int, int, str]:
    return mention.start, mention.end, mention.entity_type


def _ids(path: Path) -> list[str]:
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise InputError(f"expected ids in UTF-8, one per line ({error})", path=path) from error
    return [words[0] for words in lines if words and not words[0].startswith("#")]

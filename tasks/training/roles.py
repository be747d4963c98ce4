"""Decide the role of each gold document: for training, for fitting, or to judge a challenger.

A hash of its identity reserves a document to judge: a quarter of the corrections and of new gold. The choice is the
same in every later retraining, so a reserved document is never trained on. A document that the champion or an ancestor
of it has seen never judges. Documents that are named to judge replace the reserved gold, but not the reserved
corrections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from e2emern.model.corpus import GoldDocument
from e2emern.model.seen import Seen, identities, identity, unseen

RESERVED = 0.25
"""Share of the documents reserved to judge."""
GATE = "gate"
"""Split of the reserved documents of a corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Documents by role; no document has two roles.

    Attributes:
        known: number of documents that could have judged if no model had seen them.
    """

    train: tuple[GoldDocument, ...]
    fit: tuple[GoldDocument, ...]
    judged: tuple[GoldDocument, ...]
    known: int

    @property
    def documents(self) -> list[GoldDocument]:
        return [*self.train, *self.fit, *self.judged]


def assign(
    *,
    of_train: Sequence[GoldDocument],
    of_dev: Sequence[GoldDocument],
    corrected: Sequence[GoldDocument],
    auxiliary: Sequence[GoldDocument] = (),
    named: Sequence[GoldDocument],
    seen: Seen,
) -> Roles:
    """Return the role of each document.

    Args:
        of_train: gold to train on.
        of_dev: gold for choosing the epoch and for fitting.
        corrected: corrected documents; each replaces the gold with its identity.
        auxiliary: documents of other guidelines, to train on; none of them judges.
        named: documents to judge on, instead of the reserved gold.
        seen: documents that the champion and the origin of the challenger have seen.
    """
    replaced = identities(corrected)
    train = [*unseen(of_train, replaced), *corrected]
    fit = unseen(of_dev, replaced)
    candidates = [*corrected] if named else [*train, *fit]
    pool = [*named, *filter(is_reserved, candidates)]
    given = identities(named)
    judged = [one if identity(one) in given else replace(one, split=GATE) for one in _once(unseen(pool, seen.all))]
    taken = identities(judged)
    learned = unseen([*train, *unseen(auxiliary, replaced)], taken)
    return Roles(
        train=tuple(learned),
        fit=tuple(unseen(unseen(fit, taken), identities(learned) | seen.trained)),
        judged=tuple(judged),
        known=len(_once(pool)) - len(judged),
    )


def is_reserved(document: GoldDocument) -> bool:
    """Return whether a document judges if no model has seen it."""
    digest = hashlib.sha256(f"reserved {identity(document)}".encode()).digest()
    return int.from_bytes(digest[:4]) < RESERVED * 2**32


def _once(documents: Iterable[GoldDocument]) -> list[GoldDocument]:
    """Return the first document of each identity."""
    found: dict[str, GoldDocument] = {}
    for document in documents:
        found.setdefault(identity(document), document)
    return list(found.values())

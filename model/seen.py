"""The documents that a model and its ancestors have seen: `seen.json` in the folder of a model.

`trained` documents changed weights; `fitted` documents chose an epoch, a threshold or the resolver. A model that is
trained further, averaged, or taught by others inherits the documents of its origins. None of them may judge it; those
that it was trained on may not choose its epoch or fit its resolver either.

A document is identified by its PMID, or by any other id together with a digest of its letters and digits: corpora that
number their documents from 1 do not share documents.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2emern.model.corpus import GoldDocument
from e2emern.model.errors import FileError
from e2emern.model.files import write_text

SEEN = "seen.json"

_PMID = re.compile(r"[1-9]\d{4,8}")


@dataclass(frozen=True, slots=True)
class Seen:
    """Identities of documents (`identity`)."""

    trained: frozenset[str] = frozenset()
    fitted: frozenset[str] = frozenset()

    def __or__(self, other: Seen) -> Seen:
        return Seen(self.trained | other.trained, self.fitted | other.fitted)

    @property
    def all(self) -> frozenset[str]:
        """The documents trained or fitted on."""
        return self.trained | self.fitted


def identity(document: GoldDocument) -> str:
    """Return the identity of a document, the same in every corpus."""
    if _PMID.fullmatch(document.document_id):
        return document.document_id
    letters = "".join(filter(str.isalnum, document.text.lower()))
    return f"{document.document_id} {hashlib.sha256(letters.encode()).hexdigest()[:8]}"


def identities(documents: Iterable[GoldDocument]) -> frozenset[str]:
    """Return the identities of documents."""
    return frozenset(map(identity, documents))


def unseen(documents: Sequence[GoldDocument], seen: frozenset[str]) -> list[GoldDocument]:
    """Return the documents that are not among those seen."""
    return [document for document in documents if identity(document) not in seen]


def union(lists: Iterable[Seen | None]) -> Seen | None:
    """Return the documents that all models together have seen; None if those of one model are unknown."""
    total = Seen()
    for one in lists:
        if one is None:
            return None
        total |= one
    return total


def read_seen(folder: Path) -> Seen | None:
    """Return the documents that a model has seen, none for an encoder without our levels, None if it has no list.

    Raises:
        FileError: the list is damaged.
    """
    try:
        return parse_seen((folder / SEEN).read_bytes())
    except FileNotFoundError:
        return None if _is_model(folder) else Seen()
    except (ValueError, TypeError, KeyError) as error:
        raise FileError("is not a valid list of documents; restore it with its model", folder / SEEN) from error


def write_seen(folder: Path, seen: Seen | None) -> None:
    """Write the documents that a model has seen into its folder; do nothing if they are unknown."""
    if seen is not None:
        write_text(folder / SEEN, format_seen(seen) + "\n")


def add_seen(folder: Path, more: Seen | None) -> None:
    """Add documents to the list of a model; if they or those of the model are unknown, it has no list afterwards."""
    before = read_seen(folder)
    after = union([before, more])
    if after is None:
        (folder / SEEN).unlink(missing_ok=True)
    elif after != before or not (folder / SEEN).exists():
        write_seen(folder, after)


def parse_seen(content: str | bytes) -> Seen:
    """Parse the output of `format_seen`. Raises ValueError, TypeError or KeyError for anything else."""
    found = json.loads(content)
    return Seen(frozenset(found["trained"]), frozenset(found["fitted"]))


def format_seen(seen: Seen) -> str:
    """Return the lists as JSON, sorted."""
    return json.dumps({"trained": sorted(seen.trained), "fitted": sorted(seen.fitted)})


def _is_model(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "config.json").read_bytes()).get("model_type") == "e2emern")
    except (OSError, ValueError, AttributeError):
        return False

"""What a MeSH parser yields: a concept, a record left out, or a failure with its reason."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

from e2emern.tasks.parsers.records import Failure, RecordError

# Kinds of names, in the order in which a concept has them.
PREFERRED, ENTRY, PERMUTED = "preferred", "entry", "permuted"

DESCRIPTOR, SUPPLEMENTARY, OMIM = "descriptor", "supplementary", "omim"

_IDENTIFIER = re.compile(r"[A-Z]{2,}:\d+|\d+")  # of ontologies (CHEBI:15365, DOID:2964), and catalogue numbers
_UNIPROT = re.compile(r"[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d([A-Z][A-Z\d]{2}\d){1,2}")
"""Accession numbers (https://www.uniprot.org/help/accession_numbers); only proteins have them as names."""
_TREE_NUMBER = re.compile(r"[A-Z][0-9]{2}(\.[0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConcept:
    """A disease or chemical of one source. `names` begins with the preferred name; `kinds` has the kind of each."""

    record: int  # 0-based position among the records of its source
    position: str
    mesh_id: str
    entity_type: str
    record_type: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    tree_numbers: tuple[str, ...] = ()
    mapped_to: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A valid record that is neither a disease nor a chemical."""

    mesh_id: str


MeshRecord = MeshConcept | LeftOut | Failure


def named(preferred: str, others: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a concept and the kind of each: the preferred one, entry terms, permuted terms.

    `others` are pairs (name, kind). HTML entities (`&apos;`) are unescaped. Of names that differ only by case, the
    first is kept. Identifiers of other databases, which no text uses as a name, are left out. Raises RecordError if the
    preferred name is empty.
    """
    preferred, others = html.unescape(preferred), [(html.unescape(name), kind) for name, kind in others]
    if not preferred:
        raise RecordError("no preferred name")
    spelled = {preferred.lower(): (preferred, PREFERRED)}
    for name, kind in sorted(others, key=lambda other: other[1] == PERMUTED):
        if name and not _is_identifier(name, preferred):
            spelled.setdefault(name.lower(), (name, kind))
    names, kinds = zip(*spelled.values(), strict=True)
    return names, kinds


def _is_identifier(name: str, preferred: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(name) or (" protein" in preferred and _UNIPROT.fullmatch(name)))


def checked_tree_numbers(numbers: Iterable[str]) -> tuple[str, ...]:
    """Return sorted tree numbers. Raises RecordError for one that does not look like `C04.588`."""
    for number in numbers:
        if not _TREE_NUMBER.fullmatch(number):
            raise RecordError(f"tree number {number[:40]!r}, expected one such as C04.588")
    return tuple(sorted(set(numbers)))


def type_of(tree_numbers: Iterable[str]) -> str | None:
    """Return `Disease` for a concept of the trees C and F03, `Chemical` for one of D, else None.

    A concept in both kinds of trees is a disease (https://meshb.nlm.nih.gov/treeView).
    """
    numbers = list(tree_numbers)
    if any(number.startswith(("C", "F03")) for number in numbers):
        return "Disease"
    return "Chemical" if any(number.startswith("D") for number in numbers) else None

"""The records that MeSH parsers yield: a concept, a record left out, or a failure with its reason."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

from e2emern.tasks.parsers.records import Failure, RecordError

# Kinds of names, in the order in which a concept lists them.
PREFERRED, ENTRY, PERMUTED = "preferred", "entry", "permuted"

DESCRIPTOR, SUPPLEMENTARY, OMIM = "descriptor", "supplementary", "omim"

_NCI_CODE = re.compile(r"C\d{4,6}")  # of the NCI Thesaurus
_IDENTIFIER = re.compile(rf"[A-Z]{{2,}}:\d+|\d+|{_NCI_CODE.pattern}")
"""Identifiers of ontologies (CHEBI:15365, DOID:2964), catalogue numbers, and codes."""
_PLACEHOLDERS = frozenset({"not available"})
_UNIPROT = re.compile(r"[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d([A-Z][A-Z\d]{2}\d){1,2}")
"""Accession numbers (https://www.uniprot.org/help/accession_numbers); only proteins have them as names."""
_ORGANISM = re.compile(r"[A-Z][a-z]+ [a-z]+|.*virus [A-Z\d]+")
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
        if name and name.lower() not in _PLACEHOLDERS and not _is_identifier(name, preferred):
            spelled.setdefault(name.lower(), (name, kind))
    names, kinds = zip(*spelled.values(), strict=True)
    return names, kinds


def _is_identifier(name: str, preferred: str) -> bool:
    is_protein = " protein" in preferred
    return bool(_IDENTIFIER.fullmatch(name) or (is_protein and _UNIPROT.fullmatch(name)))


def is_organism(preferred: str, others: Iterable[str]) -> bool:
    """Return whether a supplementary chemical is an organism: a species or virus with a code as its only other name.

    NLM marks organisms as class 4 of its supplementary records. Tables without classes list them as chemicals.
    """
    codes = [name for name in others if name != preferred]
    return bool(codes and _ORGANISM.fullmatch(preferred) and all(map(_NCI_CODE.fullmatch, codes)))


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

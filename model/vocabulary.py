"""The concepts to link to, and the exact look-up of words among their names.

Reads the entities table (one Parquet file for each MeSH version). Concepts are ordered by type, so that "all diseases"
is a slice; names follow the order of their concepts.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np

from e2emern.model.document import Concept
from e2emern.model.errors import FileError
from e2emern.model.files import read_table
from e2emern.model.name_index import NameIndex
from e2emern.model.notation import normalize_id

_COLUMNS = ("mesh_id", "names", "entity_type", "tree_numbers", "record_type", "mapped_to", "aliases", "mesh_version")
_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "κ": "kappa", "ω": "omega"}
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_KEPT = "abcdefghijklmnopqrstuvwxyz0123456789\n"
_FOLDED = bytes(ord(chr(at).lower()) if chr(at).lower() in _KEPT else ord(" ") for at in range(256))
LONGEST_SYMBOL = 2  # letters, of names whose case matters


def normalise(name: str) -> str:
    """Fold case, accents, Greek letters and punctuation: "β-Thalassemia" and "beta thalassemia" agree."""
    if name.isascii():
        return _NOT_WORD.sub(" ", name.lower()).strip()
    folded = unicodedata.normalize("NFKD", name.lower())
    folded = "".join(_GREEK.get(letter, letter) for letter in folded if not unicodedata.combining(letter))
    return _NOT_WORD.sub(" ", folded).strip()


normalised = lru_cache(maxsize=100_000)(normalise)
"""The same with a cache, for words of text, which repeat."""


def words_of_all(names: Sequence[str]) -> list[list[str]]:
    """Return the words of each of many names as `normalise` folds them, many times faster."""
    folded = "\n".join([name.replace("\n", " ") if name.isascii() else normalise(name) for name in names])
    return [line.split() for line in folded.encode().translate(_FOLDED).decode().split("\n")][: len(names)]


def bag_of_words(name: str) -> str:
    """Fold plural and word order too: "Neoplasms, Breast" and "breast neoplasm" agree."""
    return _bag(normalise(name))


class Vocabulary:
    """All concepts of one MeSH version.

    Attributes:
        version: the MeSH version.
        concepts: ordered by type, then id.
        names: every name of every concept, grouped by concept.
        name_owner: int32 (names,), position of the name's concept.
        types: entity types in the order of the concepts.
        exact: the concepts by name as `normalise` folds it, without bare numbers.
        bags: the concepts by name as `bag_of_words` folds it, without bare numbers.
        openings: the first two words of every name with several words, as `normalise` folds them.
    """

    def __init__(self, concepts: Sequence[Concept], *, version: str, aliases: dict[str, str] | None = None) -> None:
        self.version = version
        self.concepts = tuple(sorted(concepts, key=lambda concept: (concept.entity_type, concept.mesh_id)))
        self.position = {concept.mesh_id: at for at, concept in enumerate(self.concepts)}
        self.aliases = aliases or {}
        self.types = tuple(sorted({concept.entity_type for concept in self.concepts}))
        self.names = [name for concept in self.concepts for name in concept.names]
        counts = [len(concept.names) for concept in self.concepts]
        self.first_name = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.name_owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        types = [concept.entity_type for concept in self.concepts]
        self._slices = {kind: slice(bisect_left(types, kind), bisect_right(types, kind)) for kind in self.types}
        words = words_of_all(self.names)
        kept = [at for at, each in enumerate(words) if not "".join(each).isdigit()]  # a catalogue number is not a name
        words = [words[at] for at in kept]
        singular = {word: _singular(word) for word in set(chain.from_iterable(words))}
        preferred = np.zeros(len(self.names), bool)
        preferred[self.first_name[:-1]] = True
        of_concept = self.name_owner[kept], preferred[kept]
        self.exact = NameIndex([" ".join(each) for each in words], *of_concept)
        self.bags = NameIndex([" ".join(sorted([singular[word] for word in each])) for each in words], *of_concept)
        self.openings = {f"{each[0]} {each[1]}" for each in words if len(each) > 1}

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read an entities table.

        Raises:
            FileError: the table cannot be read, lacks a column, is empty or holds more than one version.
        """
        rows = read_table(path, columns=_COLUMNS, expected="an entities table").to_pylist()
        versions = {row["mesh_version"] for row in rows}
        if len(versions) != 1:
            raise FileError(f"found {len(versions)} MeSH versions, expected 1", path)
        aliases = {alias: row["mesh_id"] for row in rows for alias in row["aliases"]}
        concepts = [
            Concept(
                mesh_id=row["mesh_id"],
                entity_type=row["entity_type"],
                names=tuple(row["names"]),
                record_type=row["record_type"],
                tree_numbers=tuple(row["tree_numbers"]),
                mapped_to=tuple(row["mapped_to"]),
            )
            for row in rows
        ]
        return cls(concepts, version=versions.pop(), aliases=aliases)

    def canonical(self, identifier: str) -> str:
        """Return an id as this vocabulary writes it, however a source does; alternative ids are resolved.

        An id that is not in the vocabulary is normalized (`model.notation`).
        """
        if identifier in self.position:
            return identifier
        bare = normalize_id(identifier) or identifier.strip()
        return bare if bare in self.position else self.aliases.get(bare, bare)

    def slice_of(self, entity_type: str) -> slice:
        """Return the positions of all concepts of a type; empty for a type without any."""
        return self._slices.get(entity_type, slice(0, 0))

    def select(
        self, *, branches: Sequence[str] = (), allow: Sequence[str] = (), deny: Sequence[str] = ()
    ) -> np.ndarray:
        """Return which concepts may be linked to: bool (concepts,).

        Args:
            branches: tree numbers; concepts at or under one of them, and supplementary records mapped to these.
            allow: ids that may be linked to as well; without branches, only these.
            deny: ids that may not.

        Raises:
            ValueError: an id is not in the vocabulary, or no concept is under a branch.
        """
        for identifier in (*allow, *deny):
            if self.canonical(identifier) not in self.position:
                raise ValueError(f"{identifier}: no such concept in MeSH {self.version}")
        selected = np.full(len(self.concepts), not branches and not allow)
        for branch in branches:
            under = {
                concept.mesh_id
                for concept in self.concepts
                if any(f"{tree}.".startswith(f"{branch}.") for tree in concept.tree_numbers)
            }
            if not under:
                raise ValueError(f"{branch}: no concept of MeSH {self.version} has such a tree number")
            selected |= [each.mesh_id in under or not under.isdisjoint(each.mapped_to) for each in self.concepts]
        selected[[self.position[self.canonical(identifier)] for identifier in allow]] = True
        selected[[self.position[self.canonical(identifier)] for identifier in deny]] = False
        return selected

    @property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over ids and names, which are all that a bank is made of."""
        hashed = hashlib.sha256()
        for concept in self.concepts:
            hashed.update("\t".join((concept.mesh_id, *concept.names, "\n")).encode())
        return hashed.hexdigest()[:16]

    def look_up(self, words: str, *, entity_type: str) -> tuple[str, dict[int, bool]]:
        """Return the concepts of a type with these words as a name, and how they match.

        The case of symbols must match: of names of one or two letters, and of single words in mixed case. "no" is not
        Nobelium, and "CoCl2" is not COCl2, phosgene.

        Returns `("exact" | "variant" | "none", {concept position: whether it is the preferred name})`;
        a variant differs by word order or plural.
        """
        folded = normalise(words)
        found = self._of_type(self.exact.of(folded), entity_type)
        symbol = _letters(words)
        if found and (len(folded) <= LONGEST_SYMBOL or (" " not in folded and _mixes_cases(symbol))):
            found = {at: best for at, best in found.items() if symbol in map(_letters, self.concepts[at].names)}
            return ("exact" if found else "none"), found
        if found:
            return "exact", found
        if found := self._of_type(self.bags.of(_bag(folded)), entity_type):
            return "variant", found
        return "none", {}

    def concepts_named(self, folded: str, *, entity_type: str) -> list[int]:
        """Return the concepts of a type that have these words, as `normalise` folds them, as a name: positions."""
        return list(self._of_type(self.exact.of(folded), entity_type))

    def _of_type(self, found: dict[int, bool], entity_type: str) -> dict[int, bool]:
        return {at: best for at, best in found.items() if self.concepts[at].entity_type == entity_type}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name))


def _mixes_cases(letters: str) -> bool:
    return not letters.isupper() and letters[1:] != letters[1:].lower()


def _bag(folded: str) -> str:
    return " ".join(sorted(_singular(word) for word in folded.split()))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word

"""Names of the vocabulary that mean one concept wherever they occur: exact, unambiguous and long enough.

The low level misses many names that its training text does not have, such as those given since. So every such name in
the text becomes a span, with whatever probability the low level gives it. The resolver decides.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

import numpy as np

from e2emern.model.document import Concept
from e2emern.model.vocabulary import Vocabulary, normalise, normalised

SHORTEST = 4  # letters and digits of a name in several words, or in capitals or with a digit
SHORTEST_PREFERRED = 5  # of another single word that is the preferred name
SHORTEST_WORD = 8  # of any other single word: shorter ones are often trade names that are common words (Apollo)
LONGEST = 8  # words of a name
NO_MENTION_TREES = (
    "C04.697.098", "C23.550.727.098",  # carcinogenesis
    "C23.550.288",  # disease and syndrome themselves
    "C23.550.291",  # disease attributes: emergencies, disease progression
    "D01.045.250", "D01.248.497.158.459", "D01.650.550.925",  # water
    "D05.500", "D05.750.078", "D08", "D09.400.430", "D12", "D13.444",  # proteins and nucleic acids
    "D06.347", "D06.472.040.543", "D06.472.699",  # hormone antagonists, glucocorticoids as a class, peptide hormones
    "D09.698.365", "D10.532", "D10.627",  # cellulose, lipoproteins, oils
    "D20", "D23", "D25", "D26", "D27",  # mixtures, biological factors, materials, preparations, actions
)  # fmt: skip
"""Trees that the corpora hardly annotate."""

_TYPES = (
    "CDF"  # first letters of the trees of diseases, chemicals and mental disorders; others say nothing about a type
)

NO_MENTION_CONCEPTS = frozenset({"D001835", "D001836", "D010335", "D012816", "146850", "300082", "608852"})
"""Concepts whose names say what is measured or seen: body weight, signs and symptoms, pulmonary function."""

_FIRST = frozenset("a an and as at be by for if in is it no of on or so the to us we with".split())
"""Words that begin a phrase more often than the names that begin with them, such as "AT 10"."""
_ORGANISM = frozenset({"virus", "viruses", "coronavirus", "coronaviruses"})
"""Words that make a disease the name of its virus: "influenza virus"."""

_WORD = re.compile(r"[^\W_]+")
_MEASURE = re.compile(r"\d (mg|ml|mcg|g|unt)\b")
_SEPARATES = re.compile(r"[;:.?!] |, | [(\[]|[)\]] |%")


class ListedNames:
    """The names of a vocabulary that are found in text without a model.

    A name is listed if its concept is the only one of all types that has it, apart from concepts of the same preferred
    name (OMIM repeats diseases). A short single word that is in capitals ("AIDS") must be in capitals in the text. A
    listed name within a longer name of the vocabulary, such as "carbon" in "carbon dioxide", is not found, whether or
    not the longer one is listed; neither is one that names a virus.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._openings, self._exact = vocabulary.openings, vocabulary.exact
        self._capitals: set[str] = set()
        self._type: dict[str, str] = {}
        self._longest: dict[str, int] = {}  # by first word, the most words of a name
        owner = vocabulary.exact.owners[vocabulary.exact.first[:-1]].tolist()
        for at in np.flatnonzero(_unambiguous(vocabulary)).tolist():
            name = vocabulary.exact.names[at]
            words, first = 1 + name.count(" "), name.partition(" ")[0]
            if len(name) - words + 1 < SHORTEST or first in _FIRST:
                continue
            if words > 1:
                if _MEASURE.search(name):
                    continue
            elif len(name) < SHORTEST_WORD and not self._is_listed_word(name, vocabulary):
                continue
            self._type[name] = vocabulary.concepts[owner[at]].entity_type
            if words > self._longest.get(first, 0):
                self._longest[first] = min(LONGEST, words)

    def _is_listed_word(self, word: str, vocabulary: Vocabulary) -> bool:
        """Return whether a short word is listed, and note if it must be in capitals."""
        concepts = [vocabulary.concepts[at] for at in vocabulary.exact.of(word)]
        is_preferred = len(word) >= SHORTEST_PREFERRED and any(normalise(each.name) == word for each in concepts)
        spelled = [name for each in concepts for name in each.names if normalise(name) == word]
        is_symbol = all(name.isupper() or any(map(str.isdigit, name)) for name in spelled)
        if is_symbol and not is_preferred:
            self._capitals.add(word)
        return is_symbol or is_preferred

    def is_listed(self, folded: str, entity_type: str) -> bool:
        """Return whether a normalised name is one of a type."""
        return self._type.get(folded) == entity_type

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and type of the longest listed names in a text, from left to right, without overlap."""
        words = _words_of(text)
        at = 0
        while at < len(words):
            most, after = self._longest.get(words[at][2], 0), at + 1
            if most and not (words[at][2] in self._type or self._opens(at, words)):
                most = 0
            for last, folded in _runs_from(at, words, text, most, self._openings) if most else ():
                kind = self._type.get(folded)
                start, end = words[at][0], words[last][1]
                if kind is not None and not (folded in self._capitals and not text[start:end].isupper()):
                    if not self._is_part(at, last, words, text):
                        yield start, end, kind
                    after = last + 1
                    break
            at = after

    def _is_part(self, at: int, last: int, words: Sequence[tuple[int, int, str]], text: str) -> bool:
        """Return whether words at..last (inclusive) are part of a longer name, or of the name of a virus."""
        if (
            last + 1 < len(words)
            and words[last + 1][2] in _ORGANISM
            and text[words[last][1] : words[last + 1][0]] == " "
        ):
            return True
        return any(
            self._exact.of(folded)
            for begin in range(max(0, at - LONGEST + 1), at + 1)
            for end, folded in _runs_from(begin, words, text, LONGEST, self._openings)
            if end >= last and (begin < at or end > last)
        )

    def _opens(self, at: int, words: Sequence[tuple[int, int, str]]) -> bool:
        """Return whether two words can begin a name of several: most cannot, which takes little time to see."""
        first, second = words[at][2], words[at + 1][2] if at + 1 < len(words) else ""
        return not second or " " in first or " " in second or f"{first} {second}" in self._openings


def runs_of_words(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and the normalised words of each run of words, from left to right and the longest first.

    A run has LONGEST words at most. No punctuation in it separates phrases, except commas and brackets within a word.
    """
    words = _words_of(text)
    for at, (start, _, _) in enumerate(words):
        for last, folded in _runs_from(at, words, text, LONGEST, None):
            yield start, words[last][1], folded


def _words_of(text: str) -> list[tuple[int, int, str]]:
    if text.isascii():  # the common case, in which a word needs no more
        return [(*match.span(), match[0]) for match in _WORD.finditer(text.lower())]
    return [(*match.span(), normalised(match[0])) for match in _WORD.finditer(text)]


def _runs_from(
    at: int, words: Sequence[tuple[int, int, str]], text: str, most: int, openings: Container[str] | None
) -> Iterator[tuple[int, str]]:
    """Return the last word of each run that begins with a word, and its normalised words; the longest first.

    Args:
        most: words of a run.
        openings: the first two words of runs of several; None for any.
    """
    first = folded = words[at][2]
    runs = [(at, folded)]
    for last in range(at + 1, min(at + most, len(words))):
        start, _, word = words[last]
        between = text[words[last - 1][1] : start]
        if between != " " and _SEPARATES.search(between):
            break
        folded = f"{folded} {word}".strip()
        if openings is not None and folded.count(" ") == 1 and " " not in first and folded not in openings:
            break
        runs.append((last, folded))
    return reversed(runs)


def _unambiguous(vocabulary: Vocabulary) -> np.ndarray:
    """Return which names mean one concept that the corpora annotate: bool (names,)."""
    exact, concepts = vocabulary.exact, vocabulary.concepts
    left_out = np.array([is_left_out((concept,), vocabulary) for concept in concepts], bool)
    counts = np.diff(exact.first)
    found: np.ndarray = (counts == 1) & ~left_out[exact.owners[exact.first[:-1]]]
    for at in np.flatnonzero(counts > 1).tolist():  # few names
        owners = [concepts[owner] for owner in exact.owners[exact.first[at] : exact.first[at + 1]]]
        found[at] = _is_one(owners) and not is_left_out(owners, vocabulary)
    return found


def _is_one(concepts: Sequence[Concept]) -> bool:
    return len({(each.entity_type, normalise(each.name)) for each in concepts}) == 1


def is_left_out(concepts: Sequence[Concept], vocabulary: Vocabulary) -> bool:
    """Return whether all trees of the concepts are in `NO_MENTION_TREES`, or a concept is in `NO_MENTION_CONCEPTS`."""
    if any(each.mesh_id in NO_MENTION_CONCEPTS for each in concepts):
        return True
    trees = trees_of(concepts, vocabulary)
    return bool(trees) and all(tree.startswith(NO_MENTION_TREES) for tree in trees)


def trees_of(concepts: Sequence[Concept], vocabulary: Vocabulary) -> list[str]:
    """Return the trees of diseases and chemicals that hold the concepts, or descriptors that these are mapped to."""
    mapped = [vocabulary.concepts[vocabulary.position[to]] for each in concepts for to in each.mapped_to
              if to in vocabulary.position]  # fmt: skip
    return [tree for each in (*concepts, *mapped) for tree in each.tree_numbers if tree[0] in _TYPES]

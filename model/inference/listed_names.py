"""Names of the vocabulary that mean one concept wherever they occur: exact, unambiguous and long enough.

The low level misses many names that its training text does not have, such as those given since. So every such name in
the text becomes a span, with whatever probability the low level gives it. The resolver decides.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from e2emern.model.document import Concept
from e2emern.model.vocabulary import Vocabulary, normalise, normalised

SHORTEST = 4  # letters and digits of a name in several words, or in capitals or with a digit
SHORTEST_PREFERRED = 5  # of another single word that is the preferred name
SHORTEST_WORD = 8  # of any other single word: shorter ones are often trade names that are common words (Apollo)
LONGEST = 8  # words of a name
NO_MENTIONS = (
    "C23.550.291",  # disease attributes: emergencies, disease progression
    "D05.750.078", "D08", "D09.400.430", "D12", "D13.444",  # proteins and nucleic acids
    "D20", "D23", "D25", "D26", "D27",  # mixtures, biological factors, materials, preparations, actions
)  # fmt: skip
"""Trees that the corpora hardly annotate."""

_WORD = re.compile(r"[^\W_]+")
_MEASURE = re.compile(r"\d (mg|ml|mcg|g|unt)\b")
_SEPARATES = re.compile(r"[;:.?!] |, | [(\[]|[)\]] |%")


class ListedNames:
    """The names of a vocabulary that are found in text without a model.

    A name is listed if its concept is the only one of all types that has it, apart from concepts of the same preferred
    name (OMIM repeats diseases). A short single word that is in capitals ("AIDS") must be in capitals in the text.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._type: dict[str, str] = {}
        self._capitals: set[str] = set()
        self._longest: dict[str, int] = {}  # by first word, the most words of a name
        self._openings = vocabulary.openings
        for folded, owners in vocabulary.exact_names():
            concepts = [vocabulary.concepts[at] for at in owners]
            if not _is_one(concepts) or is_left_out(concepts, vocabulary):
                continue
            first, *others = folded.split()
            if not others and len(folded) < SHORTEST_WORD:
                spelled = [name for each in concepts for name in each.names if normalise(name) == folded]
                is_preferred = len(folded) >= SHORTEST_PREFERRED and any(
                    normalise(each.name) == folded for each in concepts
                )
                symbol = all(name.isupper() or any(map(str.isdigit, name)) for name in spelled)
                if len(folded) < SHORTEST or not (symbol or is_preferred):
                    continue
                if symbol and not is_preferred:
                    self._capitals.add(folded)
            elif (
                _MEASURE.search(folded) or len(folded.replace(" ", "")) < SHORTEST or folded.replace(" ", "").isdigit()
            ):
                continue
            self._type[folded] = concepts[0].entity_type
            self._longest[first] = max(self._longest.get(first, 0), min(LONGEST, 1 + len(others)))

    def is_listed(self, folded: str, entity_type: str) -> bool:
        """Return whether a normalised name is one of a type."""
        return self._type.get(folded) == entity_type

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and type of the longest listed names in a text, from left to right, without overlap."""
        free = 0
        for start, end, folded in runs_of_words(text, longest=self._longest, openings=self._openings):
            kind = self._type.get(folded)
            if kind is None or start < free or (folded in self._capitals and not text[start:end].isupper()):
                continue
            free = end
            yield start, end, kind


def runs_of_words(
    text: str, *, longest: Mapping[str, int] | None = None, openings: Container[str] | None = None
) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and the normalised words of each run of words, from left to right and the longest first.

    A run does not contain punctuation that separates phrases, except commas and brackets within a word.

    Args:
        longest: by the normalised first word, the most words of a run; LONGEST for all words if None.
        openings: the first two words of runs of several; None for any.
    """
    words = [(match.start(), match.end(), normalised(match[0])) for match in _WORD.finditer(text)]
    for at, (start, end, first) in enumerate(words):
        most = LONGEST if longest is None else longest.get(first, 0)
        if not most:
            continue
        runs, folded = [(start, end, first)], first
        for last in range(at + 1, min(at + most, len(words))):
            between = text[words[last - 1][1] : words[last][0]]
            if between != " " and _SEPARATES.search(between):
                break
            folded = f"{folded} {words[last][2]}".strip()
            if openings is not None and folded.count(" ") == 1 and " " not in first and folded not in openings:
                break
            runs.append((start, words[last][1], folded))
        yield from reversed(runs)


def _is_one(concepts: Sequence[Concept]) -> bool:
    return len({(each.entity_type, normalise(each.name)) for each in concepts}) == 1


def is_left_out(concepts: Sequence[Concept], vocabulary: Vocabulary) -> bool:
    """Return whether all trees of the concepts, and of descriptors that they are mapped to, are in `NO_MENTIONS`."""
    mapped = [vocabulary.concepts[vocabulary.position[to]] for each in concepts for to in each.mapped_to
              if to in vocabulary.position]  # fmt: skip
    trees = [tree for each in (*concepts, *mapped) for tree in each.tree_numbers]
    return bool(trees) and all(tree.startswith(NO_MENTIONS) for tree in trees)

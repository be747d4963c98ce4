"""Which words of a text are names of the vocabulary, told to the encoder beside the words themselves.

A small encoder has met few of the names of MeSH in training. Looked up, each word says whether it begins a name or
goes on with one, and of which type; the network adds what it has learnt of that to the word's embedding, and may
believe it or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .network import E2emernModel
from .vocabulary import Vocabulary, normalise

LONGEST = 8  # words of a name
_SHORTEST = 3  # letters of a name of one word: "no" and "or" are no names by themselves
_LONGEST_SYMBOL = 5  # letters of a name that is looked up by its case too, where it has no lower one: WAS, ALL


class Dictionary:
    """The names of a vocabulary, looked up word by word.

    Args:
        entity_types: those whose names are told, in the order of their numbers.
    """

    def __init__(self, vocabulary: Vocabulary, *, entity_types: Sequence[str]) -> None:
        number = {kind: at for at, kind in enumerate(entity_types)}
        self._type_of: dict[str, int] = {}
        self._longest: dict[str, int] = {}  # words of the longest name, by its first word
        self._symbols: set[str] = set()
        for folded, owners in vocabulary.folded_names():
            words = folded.split()
            kind = next(
                (number[kind] for at in owners if (kind := vocabulary.concepts[at].entity_type) in number), None
            )
            if kind is None or not 0 < len(words) <= LONGEST or len(folded) < _SHORTEST:
                continue
            self._type_of[folded] = kind
            self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))
            if len(folded) <= _LONGEST_SYMBOL and len(words) == 1:
                names = (name for at in owners for name in vocabulary.concepts[at].names if normalise(name) == folded)
                if all(name.isupper() for name in names):
                    self._symbols.add(folded)

    @classmethod
    def told(cls, model: E2emernModel, vocabulary: Vocabulary) -> Dictionary | None:
        """What a network is told of a vocabulary; None for one that reads words alone."""
        return cls(vocabulary, entity_types=model.config.entity_types) if model.config.use_names else None

    def tags(self, words: Sequence[str]) -> np.ndarray:
        """What each word is to the longest names, from left to right: int8 (words,).

        0: no part of a name; 1 + 2 k: the first word of a name of type k; 2 + 2 k: a further one.
        """
        tags = np.zeros(len(words), np.int8)
        folded = [normalise(word) for word in words]
        real = [at for at, each in enumerate(folded) if each]  # a hyphen within a name is a word, and folds to nothing
        place = 0
        while place < len(real):
            count = self._count(real[place:], folded, words)
            if count:
                first, last = real[place], real[place + count - 1]
                kind = self._type_of[" ".join(folded[at] for at in real[place : place + count])]
                tags[first : last + 1] = 2 + 2 * kind
                tags[first] = 1 + 2 * kind
            place += max(count, 1)
        return tags

    def _count(self, real: Sequence[int], folded: Sequence[str], words: Sequence[str]) -> int:
        """How many of the words that begin here are the longest name; 0 where none is."""
        longest = self._longest.get(folded[real[0]].split()[0], 0)
        for count in range(min(longest, len(real)), 0, -1):
            name = " ".join(folded[at] for at in real[:count])
            if name in self._type_of and not (name in self._symbols and words[real[0]].islower()):
                return count
        return 0

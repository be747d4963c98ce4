"""Look words up among the names of the vocabulary and the training documents, independent of their document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from e2emern.model.inference.remembered import Remembered
from e2emern.model.inference.training_strings import TrainingStrings
from e2emern.model.spelling import american
from e2emern.model.vocabulary import Vocabulary, normalised

MOST_HEADS = 2  # maximum concepts that match the head noun
REMEMBERED = 50_000  # maximum words in the cache: 100 MB

_JOINED = re.compile(r"\s*(?:,\s*(?:and/or|and|or)?|/|\band/or\b|\band\b|\bor\b)\s+|/")


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Words of an entity type, and what they can mean; concepts are positions in the vocabulary."""

    words: str
    entity_type: str
    match: str = "none"  # how the words agree with a name: exact, variant or none
    named: Mapping[int, bool] = field(default_factory=dict)  # concepts with that name; whether it is the preferred one
    heads: tuple[int, ...] = ()  # concepts that match the head noun, see `heads_of`
    trained: Mapping[int, int] = field(default_factory=dict)  # training mentions with these words, by concept
    marked: float = 0.0  # log-odds of the words being a mention in training text

    @property
    def folded(self) -> str:
        """The words as `normalise` folds them, or themselves without a letter or digit."""
        return normalised(self.words) or self.words


class LookUps:
    """Looks words up, and caches the results.

    Args:
        strings: what the training documents call the concepts.
    """

    def __init__(self, vocabulary: Vocabulary, strings: TrainingStrings | None = None) -> None:
        self.vocabulary, self.strings = vocabulary, strings or TrainingStrings()
        self.remembered: Remembered[tuple[str, str], tuple[LookedUp, ...]] = Remembered(REMEMBERED)

    def of(self, words: list[tuple[str, str]]) -> list[tuple[LookedUp, ...]]:
        """Look up words of a type, in American spelling if they are not a name; the parts of a composite each."""
        return self.remembered.of(words, lambda missing: [self._parts(*each) for each in missing])

    def is_name(self, words: str, entity_type: str) -> bool:
        """Return whether words are exactly a name of the type."""
        return self.vocabulary.look_up(words, entity_type=entity_type)[0] == "exact"

    def _parts(self, words: str, entity_type: str) -> tuple[LookedUp, ...]:
        if not self.is_name(words, entity_type):
            words = american(" ".join(words.split()) or words)
        parts = parts_of(words, entity_type=entity_type, vocabulary=self.vocabulary)
        return tuple(self._look_up(part, entity_type) for part in parts)

    def _look_up(self, words: str, entity_type: str) -> LookedUp:
        match, named = self.vocabulary.look_up(words, entity_type=entity_type)
        counts = self.strings.concepts(words, entity_type=entity_type)
        position = self.vocabulary.position
        return LookedUp(
            words,
            entity_type,
            match,
            named,
            () if match == "exact" else heads_of(words, entity_type=entity_type, vocabulary=self.vocabulary),
            {position[each]: n for each, n in counts.items() if each in position},
            self.strings.marked(words, entity_type=entity_type),
        )


def parts_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> list[str]:
    """Split coordinated names: "breast and ovarian cancer" gives "breast cancer" and "ovarian cancer".

    Words that are a name, or that have a part that is not one, stay whole.
    """
    joined = _JOINED.split(words)
    if len(joined) < 2 or vocabulary.look_up(words, entity_type=entity_type)[1]:
        return [words]
    *firsts, last = joined
    tails = last.split()
    for shared in range(len(tails)):  # "cancer" of "ovarian cancer"; the longest shared tail first, no tail last
        tail = " ".join(tails[shared + 1 :])
        parts = [f"{first} {tail}".strip() for first in firsts] + [last]
        owners = [vocabulary.look_up(part, entity_type=entity_type)[1] for part in parts]
        if all(owners) and len({frozenset(owner) for owner in owners}) == len(parts):
            return parts
    return [words]


def heads_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return the concepts, at most two, named by the longest suffix that is a name: "tumors" of "ocular tumors"."""
    split = words.split()
    for begin in range(1, len(split)):
        if found := vocabulary.look_up(" ".join(split[begin:]), entity_type=entity_type)[1]:
            return tuple(found)[:MOST_HEADS]
    return ()

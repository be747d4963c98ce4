"""Gold mentions replaced by other names of the vocabulary, so that a model cannot lean on memorised strings.

The training corpora repeat few strings, and a model that knows them by heart misses names that are given later. So in a
share of the sentences of each epoch, mentions become names of other concepts of their type. The words around them stay,
and all three levels learn the new concepts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Concept
from e2emern.model.inference.listed_names import is_left_out
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary, normalise

SHORTEST_REPLACEMENT = 2  # letters and digits
LONGEST_REPLACEMENT = 24  # word pieces of a name
_IDENTIFIER = re.compile(r"[A-Z]+:\d+|C\d{4,6}|[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d([A-Z][A-Z\d]{2}\d){1,2}")
"""Ids of ontologies and of UniProt, which the vocabulary has among its names."""
LONGEST_ABBREVIATION = 8  # characters
DESCRIPTORS = 0.5  # share of the names drawn from descriptors, which text names more often than supplementary records


class GoldSpan(NamedTuple):
    """A mention of a window: words first..last (half-open), and its concepts (positions in the vocabulary)."""

    first: int
    last: int
    entity_type: str
    concepts: tuple[int, ...]


class Replacements:
    """Draws names for mentions.

    A mention becomes a name of its shape: an abbreviation or code, one other word, or several words. Inverted names
    ("Neoplasms, Breast"), names of both types, and trees that the corpora hardly annotate are left out.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerBase) -> None:
        self._vocabulary, self._tokenizer = vocabulary, tokenizer
        self._of_shape: dict[
            tuple[str, str], tuple[list[int], list[int]]
        ] = {}  # positions of names: of descriptors, all
        types: dict[str, set[str]] = {}
        for name, owner in zip(vocabulary.names, vocabulary.name_owner.tolist(), strict=True):
            types.setdefault(normalise(name), set()).add(vocabulary.concepts[owner].entity_type)
        usable = [_is_usable(concept, vocabulary) for concept in vocabulary.concepts]
        for at, (name, owner) in enumerate(zip(vocabulary.names, vocabulary.name_owner.tolist(), strict=True)):
            folded, concept = normalise(name), vocabulary.concepts[owner]
            if not usable[owner] or ", " in name or _IDENTIFIER.fullmatch(name) or len(types[folded]) > 1:
                continue
            if len(folded) < SHORTEST_REPLACEMENT or folded.replace(" ", "").isdigit():
                continue
            of_descriptors, every = self._of_shape.setdefault((concept.entity_type, shape_of(name)), ([], []))
            every.append(at)
            if concept.record_type == "descriptor":
                of_descriptors.append(at)

    def draw(self, words: str, entity_type: str, random: np.random.Generator) -> tuple[str, int] | None:
        """Return a name of the shape of the words, and its concept; None if the vocabulary has no such name."""
        of_descriptors, every = self._of_shape.get((entity_type, shape_of(words)), ([], []))
        names = of_descriptors if of_descriptors and random.random() < DESCRIPTORS else every
        if not names:
            return None
        at = names[int(random.integers(len(names)))]
        return self._vocabulary.names[at], int(self._vocabulary.name_owner[at])

    def replace(
        self,
        window: Window,
        mentions: Sequence[GoldSpan],
        *,
        texts: Sequence[str],
        masked: Sequence[tuple[int, int]] = (),
        longest: int,
        random: np.random.Generator,
    ) -> tuple[Window, tuple[GoldSpan, ...], tuple[tuple[int, int], ...]]:
        """Return a window with other names in place of its mentions, its mentions in order, and what is masked.

        Equal words become equal names. A name that is too long for the window leaves its mention as it is.

        Args:
            texts: the text of each mention.
            masked: words (half-open) outside of the mentions, which stay.
            longest: word pieces of a window.
        """
        drawn: dict[tuple[str, str], tuple[str, int] | None] = {}
        found: list[GoldSpan] = []
        rest = list(masked)
        for mention, text in sorted(zip(mentions, texts, strict=True), reverse=True):
            key = (mention.entity_type, text.lower())
            if key not in drawn:
                drawn[key] = self.draw(text, mention.entity_type, random)
            changed, put = self._put(window, mention, drawn[key], longest)
            moved = len(changed.first) - len(window.first)
            found = [each._replace(first=each.first + moved, last=each.last + moved) for each in found]
            rest = [(a + moved, b + moved) if a >= mention.last else (a, b) for a, b in rest]
            found.append(put)
            window = changed
        return window, tuple(found[::-1]), tuple(rest)

    def _put(
        self, window: Window, mention: GoldSpan, drawn: tuple[str, int] | None, longest: int
    ) -> tuple[Window, GoldSpan]:
        """Return a window with a name in place of a mention, and the new mention; unchanged if it is too long."""
        if drawn is None:
            return window, mention
        name, concept = drawn
        encoding = self._tokenizer(name, add_special_tokens=False).encodings[0]
        pieces, owners = np.asarray(encoding.ids, np.int32), np.asarray(encoding.word_ids)
        begin, end = window.pieces_of(mention.first, mention.last)
        if not 0 < len(pieces) <= LONGEST_REPLACEMENT or len(window) - (end - begin) + len(pieces) > longest:
            return window, mention
        first = begin + np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]).astype(np.int32)
        moved = window.first[mention.last :] + np.int32(len(pieces) - (end - begin))
        start, last = int(window.start[mention.first]), int(window.end[mention.last - 1])
        changed = replace(
            window,
            ids=np.r_[window.ids[:begin], pieces, window.ids[end:]],
            first=np.r_[window.first[: mention.first], first, moved].astype(np.int32),
            start=_with(window.start, mention, np.full(len(first), start)),
            end=_with(window.end, mention, np.full(len(first), last)),
        )
        return changed, GoldSpan(mention.first, mention.first + len(first), mention.entity_type, (concept,))


def shape_of(name: str) -> str:
    """Return `abbreviation` (also of codes, such as "BMS-181339"), `word` or `words`."""
    if " " in name:
        return "words"
    capitals = sum(letter.isupper() for letter in name)
    if any(letter.isdigit() for letter in name) or len(name) <= LONGEST_ABBREVIATION:
        return "abbreviation" if 2 * capitals >= sum(letter.isalpha() for letter in name) > 0 else "word"
    return "word"


def _is_usable(concept: Concept, vocabulary: Vocabulary) -> bool:
    return " protein" not in concept.name and not is_left_out([concept], vocabulary)


def _with(values: np.ndarray, mention: GoldSpan, put: np.ndarray) -> np.ndarray:
    return np.r_[values[: mention.first], put, values[mention.last :]].astype(np.int32)

"""Candidate generation: the concepts that a group of spans may refer to.

Three sources: the names of the vocabulary (exact look-up), the bank searched with the encoded words (as if they were
a name), and the bank searched with the words as the encoder reads them in their sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Concept
from e2emern.model.inference.bank import EntityBank, encode_names
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.network import BilinearAttention, E2emernModel
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary, normalise

CANDIDATES = 12  # concepts for each group of spans
CACHED_NAMES = 50_000  # encoded words kept for the next documents: 77 MB at 384 dimensions

# A number of two digits after capitals, "FK317"; a single capital that is neither a Roman numeral nor in "E. coli".
_MARK = re.compile(r"(?<=[A-Z])[ -]?(\d{2,})|(?<![^\W_'’])([A-HJ-UWYZ])(?![^\W_]|\.)")
_PART = re.compile(r"\d+|[^\W\d_]+")
_NUMBER = re.compile(r"\d+|(?<![^\W_])(?:X{0,2}(?:IX|IV|VI{1,3}|I{1,3}|V)|X{1,2})(?=[A-E]?(?![^\W_]))")
_ROMAN = {"I": 1, "V": 5, "X": 10}


@dataclass(frozen=True, slots=True)
class Found:
    """What each source found for a group (concepts, best first), and the two queries to the bank, (D,) each."""

    group: Group
    context: Tensor
    name: Tensor
    exact: list[int]
    by_name: list[int]
    by_context: list[int]

    def merged(self, k: int) -> list[int]:
        """Return k concepts at most: exact matches, then two of the best by name for each of the best by context.

        Concepts that have the words' head noun as a name, or these words in the training documents, are added to the k.
        """
        turns = zip_longest(self.by_name[::2], self.by_name[1::2], self.by_context)
        ranked = [concept for turn in turns for concept in turn if concept is not None]
        first = list(dict.fromkeys([*self.exact, *ranked]))[:k]
        return list(dict.fromkeys([*first, *self.group.heads, *self.group.trained]))


@dataclass(eq=False, repr=False, kw_only=True)
class CandidateSearch:
    """Searches a vocabulary and its bank for the candidates of groups of spans.

    Attributes:
        tokens: word pieces in one batch of names.
    """

    model: E2emernModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    bank: EntityBank
    tokens: int
    _encoded: dict[str, Tensor] = field(default_factory=dict, init=False)

    def fill(
        self,
        groups: Sequence[Group],
        spans: Sequence[Span],
        windows: Sequence[Window],
        hidden: Sequence[Tensor],
        *,
        k: int = CANDIDATES,
    ) -> None:
        """Give each group its candidates: k at most from the sources, and those that match its head noun."""
        for found in self.search(groups, spans, windows, hidden, k=k):
            group = found.group
            marks, numbers = marks_of(group.words), numbers_of(group.words)
            group.concepts = np.array(
                [
                    at
                    for at in found.merged(k)
                    if at in group.named
                    or at in group.heads
                    or at in group.trained
                    or (
                        has_marks(marks, self.vocabulary.concepts[at])
                        and has_numbers(numbers, self.vocabulary.concepts[at])
                    )
                ],
                np.int64,
            )
            if len(group.concepts):
                group.rows, group.similarity, group.likeness = self.bank.compare(
                    group.concepts, context=found.context, name=found.name
                )

    def search(
        self,
        groups: Sequence[Group],
        spans: Sequence[Span],
        windows: Sequence[Window],
        hidden: Sequence[Tensor],
        *,
        k: int,
    ) -> Iterator[Found]:
        """Yield what each source finds for each group: k concepts at most, best first."""
        for kind in {group.entity_type for group in groups}:
            mine = [group for group in groups if group.entity_type == kind]
            within = self.vocabulary.slice_of(kind)
            if within.start == within.stop:
                continue
            pooled = torch.stack([_pool(group, spans, windows, hidden) for group in mine])
            contexts = self._as_queries(pooled)
            names = self._encode([group.words for group in mine])
            # Words that are a name gain nothing from a search by context, which takes time.
            unnamed = [at for at, group in enumerate(mine) if group.match != "exact"]
            by_context: list[list[int]] = [[] for _ in mine]
            for at, concepts in zip(unnamed, self.bank.search(contexts[unnamed], within=within, k=k), strict=True):
                by_context[at] = concepts
            by_name = self.bank.search(names, within=within, k=k, cosine=True)
            for at, group in enumerate(mine):
                exact = sorted(group.named, key=lambda concept: not group.named[concept])[:k]
                yield Found(group, contexts[at], names[at], exact, by_name[at], by_context[at])

    def _encode(self, words: list[str]) -> Tensor:
        """Return h_e of words as if they were names, float (S, D) on the model's device; keep them in a cache."""
        if len(self._encoded) > CACHED_NAMES:
            self._encoded.clear()
        new = list(dict.fromkeys(each for each in words if each not in self._encoded))
        if new:
            encoded = encode_names(self.model, new, tokenizer=self.tokenizer, tokens=self.tokens)
            self._encoded.update(zip(new, encoded, strict=True))
        return torch.stack([self._encoded[each] for each in words]).to(self.model.device)

    def _as_queries(self, pooled: Tensor) -> Tensor:
        """Return queries q whose q . h_e is the bilinear attention's score; without that attention, h of length 1."""
        attention = getattr(self.model, "attention", None)
        if not isinstance(attention, BilinearAttention):
            return pooled / pooled.norm(dim=-1, keepdim=True)
        return pooled @ attention.product.float() / math.sqrt(pooled.shape[-1])


def marks_of(words: str) -> frozenset[str]:
    """Return the parts of a name that distinguish it from similar ones: the C of "hepatitis C", the 317 of "FK317"."""
    return frozenset((number or letter).lower() for number, letter in _MARK.findall(words))


def has_marks(marks: frozenset[str], concept: Concept) -> bool:
    """Return whether each of the marks occurs in some name of the concept."""
    return not marks or marks <= {part for name in concept.names for part in _PART.findall(name.lower())}


def numbers_of(words: str) -> frozenset[int]:
    """Return the numbers in a name, Arabic or Roman: 14 of "SCA type 14" and of "SCA14", 9 of "MPS IX"."""
    return frozenset(int(found) if found.isdigit() else _roman(found) for found in _NUMBER.findall(words))


def has_numbers(numbers: frozenset[int], concept: Concept) -> bool:
    """Return whether a concept can have the numbers: they occur in its names, or its preferred name has none.

    The spinocerebellar ataxias can be "SCA type 14", but SCA 1 cannot.
    """
    if not numbers or not numbers_of(concept.name):
        return True
    return numbers <= {number for name in concept.names for number in numbers_of(name)}


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0], strict=True))


def _pool(group: Group, spans: Sequence[Span], windows: Sequence[Window], hidden: Sequence[Tensor]) -> Tensor:
    """Return the mean of h over the group's spans, (D,); short forms count only if no span spells the words out."""
    members = [spans[at] for at in group.spans]
    literal = [span for span in members if normalise(span.text) == normalise(group.words)]
    states = [
        hidden[span.window][slice(*windows[span.window].pieces_of(span.first, span.last))].float().mean(0)
        for span in literal or members
    ]
    return torch.stack(states).mean(0)

"""Candidate generation: the concepts that a group of spans may refer to.

Three sources: the names of the vocabulary (exact look-up), the bank searched with the encoded words (as if they were
a name), and the bank searched with the words as the encoder reads them in their sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Concept
from e2emern.model.inference.bank import EntityBank, encode_names
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.lookup import LookedUp
from e2emern.model.inference.remembered import Remembered
from e2emern.model.inference.segments import owners_of, starts_of
from e2emern.model.inference.states import States, means_of_runs
from e2emern.model.network import BilinearAttention, E2emernModel
from e2emern.model.vocabulary import Vocabulary, normalised

CANDIDATES = 12  # concepts for each group of spans
REMEMBERED = 50_000  # encoded words that are kept: 80 MB at 384 dimensions

# A number of two digits after capitals, "FK317"; a single capital that is neither a Roman numeral nor in "E. coli".
_MARK = re.compile(r"(?<=[A-Z])[ -]?(\d{2,})|(?<![^\W_'’])([A-HJ-UWYZ])(?![^\W_]|\.)")
_PART = re.compile(r"\d+|[^\W\d_]+")
_NUMBER = re.compile(r"\d+|(?<![^\W_])(?:X{0,2}(?:IX|IV|VI{1,3}|I{1,3}|V)|X{1,2})(?=[A-E]?(?![^\W_]))")
_ROMAN = {"I": 1, "V": 5, "X": 10}


@dataclass(frozen=True, slots=True)
class Found:
    """The concepts that each source found for a group, best first."""

    group: Group
    exact: Sequence[int]
    by_name: Sequence[int]
    by_context: Sequence[int]

    def merged(self, k: int) -> list[int]:
        """Return at most k concepts: exact matches, then two of the best by name for each of the best by context.

        Concepts that have the words' head noun as a name, or these words in the training documents, are added to the k.
        """
        turns = zip_longest(self.by_name[::2], self.by_name[1::2], self.by_context)
        ranked = [concept for turn in turns for concept in turn if concept is not None]
        first = list(dict.fromkeys([*self.exact, *ranked]))[:k]
        return list(dict.fromkeys([*first, *self.group.found.heads, *self.group.found.trained]))


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of all groups, one group after another, with their similarities: C candidates of G groups."""

    first: np.ndarray  # int64 (G + 1,), the first candidate of each group, and their number
    concepts: np.ndarray  # int64 (C,)
    rows: np.ndarray  # int64 (C,), bank row of each one's nearest name
    similarity: np.ndarray  # (C,), of that name's concept and the words in their sentences
    likeness: np.ndarray  # (C,), cosine of the nearest name and the words


@dataclass(eq=False, repr=False, kw_only=True)
class CandidateSearch:
    """Searches a vocabulary and its bank for the candidates of groups of spans.

    Attributes:
        tokens: word pieces in one batch of names.
        encoded: cache of h_e of words, (D,) each.
        nearest: cache of the k concepts with the names nearest to words of a type.
    """

    model: E2emernModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    bank: EntityBank
    tokens: int
    encoded: Remembered[str, np.ndarray] = field(default_factory=lambda: Remembered(REMEMBERED), init=False)
    nearest: Remembered[tuple[str, str, int], list[int]] = field(
        default_factory=lambda: Remembered(REMEMBERED), init=False
    )

    def candidates(
        self, groups: Sequence[Group], spans: Sequence[Span], states: States, *, k: int = CANDIDATES
    ) -> Candidates:
        """Return the candidates of each group: at most k from the sources, and those that match its head noun."""
        contexts, encoded = self._contexts(groups, spans, states), self._encoded(groups)
        found = self._found(groups, self._by_name(groups, encoded, k=k), contexts, k=k)
        chosen = [self._kept(each.merged(k), each.group.found) for each in found]
        first = starts_of([len(each) for each in chosen])
        concepts = np.array([concept for each in chosen for concept in each], np.int64)
        names = torch.from_numpy(encoded).to(contexts.device)
        compared = self.bank.compare(concepts, owners_of(first), contexts=contexts, names=names)
        return Candidates(first, concepts, *compared)

    def search(self, groups: Sequence[Group], spans: Sequence[Span], states: States, *, k: int) -> list[Found]:
        """Return the concepts that each source finds for each group: at most k, best first."""
        by_name = self._by_name(groups, self._encoded(groups), k=k)
        return self._found(groups, by_name, self._contexts(groups, spans, states), k=k)

    def _found(self, groups: Sequence[Group], by_name: list[list[int]], contexts: Tensor, *, k: int) -> list[Found]:
        by_context: list[list[int]] = [[] for _ in groups]
        # Words that are a name gain nothing from a search by context, which takes time.
        for kind in {group.entity_type for group in groups}:
            mine = [at for at, group in enumerate(groups) if group.entity_type == kind and group.found.match != "exact"]
            for at, concepts in zip(mine, self._nearest(contexts[mine], kind, k=k), strict=True):
                by_context[at] = concepts
        return [
            Found(group, sorted(named, key=lambda concept: not named[concept])[:k], by_name[at], by_context[at])
            for at, group in enumerate(groups)
            for named in (group.found.named,)
        ]

    def _encoded(self, groups: Sequence[Group]) -> np.ndarray:
        """Return h_e of the words of each group, float32 (G, D)."""
        if not groups:
            return np.zeros((0, self.model.encoder.config.hidden_size), np.float32)
        return np.stack(self.encoded.of([group.words for group in groups], self._encode))

    def _encode(self, words: list[str]) -> list[np.ndarray]:
        found = encode_names(self.model, words, tokenizer=self.tokenizer, tokens=self.tokens)
        return [vector.copy() for vector in found.numpy()]

    def _by_name(self, groups: Sequence[Group], encoded: np.ndarray, *, k: int) -> list[list[int]]:
        """Return the concepts with the names nearest to the words of each group, given h_e of the words."""
        keys = [(group.words, group.entity_type, k) for group in groups]
        at = dict(zip(keys, range(len(keys)), strict=True))

        def search(missing: list[tuple[str, str, int]]) -> list[list[int]]:
            found: dict[tuple[str, str, int], list[int]] = {}
            for kind in {key[1] for key in missing}:
                mine = [key for key in missing if key[1] == kind]
                queries = torch.from_numpy(encoded[[at[key] for key in mine]]).to(self.model.device)
                found |= zip(mine, self._nearest(queries, kind, k=k, cosine=True), strict=True)
            return [found[key] for key in missing]

        return self.nearest.of(keys, search)

    def _nearest(self, queries: Tensor, kind: str, *, k: int, cosine: bool = False) -> list[list[int]]:
        within = self.vocabulary.slice_of(kind)
        if within.start == within.stop:
            return [[] for _ in queries]
        return self.bank.search(queries, within=within, k=k, cosine=cosine)

    def _kept(self, concepts: list[int], found: LookedUp) -> list[int]:
        """Return the concepts that have the marks and numbers of the words, or are supported by other evidence."""
        marks, numbers = marks_of(found.words), numbers_of(found.words)
        if not marks and not numbers:
            return concepts
        return [
            at
            for at in concepts
            if at in found.named
            or at in found.heads
            or at in found.trained
            or (has_marks(marks, self.vocabulary.concepts[at]) and has_numbers(numbers, self.vocabulary.concepts[at]))
        ]

    def _contexts(self, groups: Sequence[Group], spans: Sequence[Span], states: States) -> Tensor:
        """Return queries q whose q . h_e is the bilinear attention's score; without that attention, h of length 1.

        h is the mean over the spans of each group, float32 (G, D); short forms count only if no span spells the words
        out.
        """
        members = [_spelt_out(group, spans) for group in groups]
        of_spans = states.means([spans[at] for mine in members for at in mine])
        pooled = means_of_runs(of_spans, starts_of([len(mine) for mine in members]))
        attention = getattr(self.model, "attention", None)
        if not isinstance(attention, BilinearAttention):
            return pooled / pooled.norm(dim=-1, keepdim=True)
        return pooled @ attention.product.float() / math.sqrt(pooled.shape[-1])


def _spelt_out(group: Group, spans: Sequence[Span]) -> list[int]:
    if len(group.spans) == 1:
        return group.spans
    return [at for at in group.spans if normalised(spans[at].text) == normalised(group.words)] or group.spans


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

"""Training samples (section 3.3): sentences with their gold tags, and batches with candidate entities.

A sentence is encoded once and shared by all entities of its batch: those that it mentions, those that other sentences
mention, hard negatives that share a word with a correct answer, and random ones. Every epoch draws different entities
and different names of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.corpus import GoldDocument
from e2emern.model.inference.listed_names import is_left_out
from e2emern.model.tagging import tag_mention
from e2emern.model.tokenization import LONGEST_WINDOW, Window, batches_of, make_windows, pad
from e2emern.model.vocabulary import Vocabulary, bag_of_words

LONGEST_NAME = 20  # word pieces, special ones included; 3 % of the names are cut


class GoldSpan(NamedTuple):
    """A mention of a window: words first..last (half-open), and its concepts (positions in the vocabulary)."""

    first: int
    last: int
    entity_type: str
    concepts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A window with its gold.

    Attributes:
        annotated: the types that the corpus annotates.
        split: of the document, as `corpus/split`.
        masked: words (half-open) that may or may not be a mention.
    """

    window: Window
    annotated: tuple[str, ...]
    mentions: tuple[GoldSpan, ...]
    split: str = ""
    masked: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step: B sentences of N pieces, M entities, S gold spans, K entities given to the high level."""

    ids: Tensor  # (B, N)
    mask: Tensor  # (B, N)
    allowed: Tensor  # (B, N, L) bool, see losses.tag_loss
    counted: Tensor  # (B, N), 1 at the first piece of every word
    name_ids: Tensor  # (M, n)
    name_mask: Tensor  # (M, n)
    contained: Tensor  # (B, M) bool: the sentence mentions the entity
    known: Tensor  # (B, M), 0 if the corpus does not annotate the entity's type
    span_row: Tensor  # (S,) the sentence of each span
    span_pieces: Tensor  # (S, N), rows that sum to 1 over the span's pieces
    span_right: Tensor  # (S, M) bool
    asked: Tensor  # (B, K) entities given to the high level, positions in M
    asked_counted: Tensor  # (B, K, N), 0 for padding
    asked_tags: Tensor  # (B, K, N, L) bool, as `allowed`

    def to(self, device: str) -> Batch:
        """Return the same batch on a device."""
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def split(self, parts: int) -> list[Batch]:
        """Return the batch in at most `parts` parts of its sentences, each with all entities."""
        if parts == 1:
            return [self]
        made = []
        for rows in torch.arange(len(self.ids), device=self.ids.device).tensor_split(min(parts, len(self.ids))):
            first, last = int(rows[0]), int(rows[-1]) + 1
            spans = (self.span_row >= first) & (self.span_row < last)
            of_sentences = {name: getattr(self, name)[first:last] for name in _OF_SENTENCES}
            of_spans = {name: getattr(self, name)[spans] for name in ("span_pieces", "span_right")}
            made.append(replace(self, span_row=self.span_row[spans] - first, **of_sentences, **of_spans))
        return made


_OF_SENTENCES = (
    "ids", "mask", "allowed", "counted", "contained", "known", "asked", "asked_counted", "asked_tags",
)  # fmt: skip


def make_samples(
    documents: Sequence[GoldDocument],
    *,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    max_pieces: int = LONGEST_WINDOW,
    names_only: Sequence[str] = (),
) -> list[Sample]:
    """Return one sample for each window; concepts that the vocabulary lacks are left out.

    Args:
        names_only: splits whose mentions are masked unless their words are a name of the vocabulary.
    """
    sentences = (document.sentences for document in documents)
    windows = make_windows(sentences, tokenizer=tokenizer, max_pieces=max_pieces)
    samples = []
    for window in windows:
        document = documents[window.document]
        split = f"{document.corpus}/{document.split}"
        mentions, masked, taken = [], [], np.zeros(len(window.first), bool)
        for mention in sorted(document.mentions, key=lambda m: (m.start - m.end, m.start)):
            words = window.words_of(mention.start, mention.end)
            if words is None or taken[words[0] : words[1]].any():
                continue
            taken[words[0] : words[1]] = True
            text = document.text[mention.start : mention.end]
            if split in names_only and not _is_name(text, mention.entity_type, vocabulary):
                masked.append(words)
                continue
            concepts = (vocabulary.position.get(vocabulary.canonical(concept)) for concept in mention.concepts)
            found = tuple(dict.fromkeys(concept for concept in concepts if concept is not None))
            mentions.append(GoldSpan(*words, mention.entity_type, found))
        samples.append(Sample(window, document.annotated_types, tuple(mentions), split, tuple(masked)))
    return samples


def _is_name(words: str, entity_type: str, vocabulary: Vocabulary) -> bool:
    """Return whether the words are a name of a concept that the corpora annotate."""
    _, found = vocabulary.look_up(words, entity_type=entity_type)
    return any(not is_left_out([vocabulary.concepts[at]], vocabulary) for at in found)


class Sampler:
    """Draws the batches of an epoch; the same (seed, epoch) gives the same batches.

    Args:
        shares: how often an epoch reads the sentences of a split; 1 by default. If a share is below 1, the next epoch
        continues with the next sentences.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        vocabulary: Vocabulary,
        tokenizer: PreTrainedTokenizerBase,
        tags: list[str],
        tokens: int = 1024,
        hard_negatives: int = 8,
        random_negatives: int = 8,
        asked_negatives: int = 2,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.samples, self.vocabulary, self.tokenizer, self.tags = list(samples), vocabulary, tokenizer, tags
        self.tokens, self.seed = tokens, seed
        self.hard_negatives, self.random_negatives = hard_negatives, random_negatives
        self.asked_negatives = asked_negatives
        share_of = np.array([(shares or {}).get(sample.split, 1.0) for sample in self.samples])
        self._whole = np.flatnonzero(share_of == 1.0)
        self._parts = [
            (np.random.default_rng(seed).permutation(np.flatnonzero(share_of == share)), share)
            for share in sorted({*share_of.tolist()} - {1.0})
        ]
        self._neighbours: dict[str, list[int]] = {}
        for at, concept in enumerate(vocabulary.concepts):
            for word in {word for name in concept.names for word in bag_of_words(name).split()}:
                self._neighbours.setdefault(word, []).append(at)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from batch number `skip` on."""
        order = self.plan(epoch)
        for number in range(skip, len(order)):
            random = np.random.default_rng((self.seed, epoch, number))
            yield self._batch([self.samples[at] for at in order[number]], random)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Return the samples of each batch: similar lengths together, batches in random order."""
        random = np.random.default_rng((self.seed, epoch))
        chosen = [self._whole]
        for samples, share in self._parts:
            each = round(share * len(samples))
            chosen.append(samples.take(np.arange(each) + epoch * each, mode="wrap"))
        shuffled = random.permutation(np.concatenate(chosen))
        plan = []
        for pool in np.array_split(shuffled, max(1, len(shuffled) // 2000)):
            lengths = [len(self.samples[at].window) for at in pool]
            plan += [pool[group] for group in batches_of(lengths, tokens=self.tokens)]
        return [plan[at] for at in random.permutation(len(plan))]

    def _batch(self, samples: list[Sample], random: np.random.Generator) -> Batch:
        vocabulary, tags = self.vocabulary, self.tags
        ids, mask = pad([sample.window.ids for sample in samples], padding=self.tokenizer.pad_token_id)
        rows, longest = ids.shape
        asked_by = [(_draw(vocabulary.concepts[e].names, random), e) for e in self._entities(samples, random)]
        asked_by.sort(key=lambda pair: len(pair[0]))  # the shorter half is encoded separately, with less padding
        names, entities = [name for name, _ in asked_by], [entity for _, entity in asked_by]
        column = {concept: at for at, concept in enumerate(entities)}
        encoded = self.tokenizer(names, truncation=True, max_length=LONGEST_NAME)["input_ids"]
        name_ids, name_mask = pad([np.asarray(name) for name in encoded], padding=self.tokenizer.pad_token_id)

        allowed = np.zeros((rows, longest, len(tags)), bool)
        counted = np.zeros((rows, longest), np.float32)
        contained = np.zeros((rows, len(entities)), bool)
        known = np.zeros((rows, len(entities)), np.float32)
        spans: list[tuple[int, int, int, tuple[int, ...]]] = []
        for row, sample in enumerate(samples):
            first = sample.window.first
            counted[row, first] = 1
            unknown = [at for at, tag in enumerate(tags) if tag != "O" and tag[2:] not in sample.annotated]
            allowed[row, first, 0] = True
            for at in unknown:
                allowed[row, first, at] = True
            for begin, end in sample.masked:
                allowed[row, first[begin:end]] = True
            unlinked = {
                kind for *_, kind, concepts in sample.mentions if not concepts
            }  # may be any concept of the type
            if sample.masked:
                unlinked |= set(sample.annotated)
            known[row] = [
                (kind := vocabulary.concepts[e].entity_type) in sample.annotated and kind not in unlinked
                for e in entities
            ]
            for begin, end, kind, concepts in sample.mentions:
                _mark(allowed[row], first[begin:end], kind, tags=tags)
                present = tuple(column[concept] for concept in concepts if concept in column)
                contained[row, list(present)] = True
                known[row, list(present)] = 1
                if present:
                    spans.append((row, *sample.window.pieces_of(begin, end), present))
        span_pieces = np.zeros((len(spans), longest), np.float32)
        span_right = np.zeros((len(spans), len(entities)), bool)
        for at, (_, begin, end, present) in enumerate(spans):
            span_pieces[at, begin:end] = 1 / (end - begin)
            span_right[at, list(present)] = True

        asked, asked_counted, asked_tags = self._ask(samples, column, contained, known, counted, longest, random)
        return Batch(
            ids, mask, torch.from_numpy(allowed), torch.from_numpy(counted), name_ids, name_mask,
            torch.from_numpy(contained), torch.from_numpy(known),
            torch.tensor([row for row, *_ in spans], dtype=torch.int64), torch.from_numpy(span_pieces),
            torch.from_numpy(span_right), torch.from_numpy(asked), torch.from_numpy(asked_counted),
            torch.from_numpy(asked_tags),
        )  # fmt: skip

    def _entities(self, samples: list[Sample], random: np.random.Generator) -> list[int]:
        """Return distinct concepts: right answers, hard negatives (they share a word with one) and random ones."""
        right = list(dict.fromkeys(concept for s in samples for *_, found in s.mentions for concept in found))
        chosen = dict.fromkeys(right)
        for at in random.permutation(len(right))[: self.hard_negatives]:
            words = bag_of_words(_draw(self.vocabulary.concepts[right[at]].names, random)).split()
            shared = [self._neighbours[word] for word in words if len(self._neighbours[word]) > 1]
            if shared:
                rarest = min(shared, key=len)
                chosen[rarest[random.integers(len(rarest))]] = None
        for at in random.integers(len(self.vocabulary.concepts), size=self.random_negatives):
            chosen[int(at)] = None
        return list(chosen)

    def _ask(
        self,
        samples: list[Sample],
        column: dict[int, int],
        contained: np.ndarray,
        known: np.ndarray,
        counted: np.ndarray,
        longest: int,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entities given to the high level: each that the sentence mentions, and some that it does not."""
        questions = []
        for row in range(len(samples)):
            right = np.flatnonzero(contained[row])
            wrong = np.flatnonzero(~contained[row] & (known[row] > 0))
            wrong = random.permutation(wrong)[: max(self.asked_negatives, len(right))]
            questions.append(np.concatenate([right, wrong]).astype(np.int64))
        width = max(1, *(len(question) for question in questions))
        asked = np.zeros((len(samples), width), np.int64)
        weights = np.zeros((len(samples), width, longest), np.float32)
        tags = np.zeros((len(samples), width, longest, len(self.tags)), bool)
        tags[..., 0] = True
        for row, (sample, question) in enumerate(zip(samples, questions, strict=True)):
            asked[row, : len(question)] = question
            weights[row, : len(question)] = counted[row]
            for place, entity in enumerate(question):
                for begin, end, kind, concepts in sample.mentions:
                    if entity in {column[concept] for concept in concepts if concept in column}:
                        _mark(tags[row, place], sample.window.first[begin:end], kind, tags=self.tags)
        return asked, weights, tags


def _draw(names: Sequence[str], random: np.random.Generator) -> str:
    return names[int(random.integers(len(names)))]


def _mark(allowed: np.ndarray, pieces: np.ndarray, kind: str, *, tags: list[str]) -> None:
    """Allow exactly the tags of a mention at the first pieces of its words."""
    allowed[pieces] = False
    allowed[pieces, tag_mention(len(pieces), kind, tags=tags)] = True

"""Tokenization: sentences to word pieces, and batches of similar length.

A word is a token of the tokenizer's own pre-tokenizer (BERT: a run of letters and digits, or one punctuation mark).
Words are tagged at their first word piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from e2emern.model.document import Sentence

LONGEST_WINDOW = 256  # word pieces, or fewer if the encoder reads fewer


@dataclass(frozen=True, slots=True)
class Window:
    """The word pieces of a sentence, or of a part of it if it is longer than the encoder reads.

    `first` holds each word's first piece, `start` and `end` each word's code points in the document.
    """

    document: int  # position of the document in the batch of documents
    sentence: int  # position of the sentence in the document
    sentence_start: int  # first code point of the sentence in the document
    ids: np.ndarray  # int32 (pieces,), special pieces included
    first: np.ndarray  # int32 (words,)
    start: np.ndarray  # int32 (words,)
    end: np.ndarray  # int32 (words,)

    def __len__(self) -> int:
        return len(self.ids)

    def words_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the half-open range of words that overlap code points start..end; None if none does."""
        first = int(np.searchsorted(self.end, start, "right"))
        last = int(np.searchsorted(self.start, end, "left"))
        return (first, last) if first < last else None

    def pieces_of(self, first: int, last: int) -> tuple[int, int]:
        """Return the half-open range of pieces of the words first..last, for pooling over a span."""
        return int(self.first[first]), int(self.first[last]) if last < len(self.first) else len(self.ids) - 1


def make_windows(
    documents: Iterable[Iterable[Sentence]], *, tokenizer: PreTrainedTokenizerBase, max_pieces: int
) -> list[Window]:
    """Tokenize the sentences of documents; each gives one window, or several if it is long.

    Sentences without any word piece (white space, control characters) give none.
    """
    triples = [(d, s, sentence) for d, sentences in enumerate(documents) for s, sentence in enumerate(sentences)]
    if not triples:
        return []
    # The tokenizer of transformers copies results that are not needed, which takes longer than the tokenization.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encodings = backend.encode_batch([sentence.text for _, _, sentence in triples], add_special_tokens=False)
    words = _join(encodings, starts=[sentence.start for _, _, sentence in triples])
    begin_of, end_of = (np.array([each], np.int32) for each in (tokenizer.cls_token_id, tokenizer.sep_token_id))
    windows = []
    for at, (document, position, sentence) in enumerate(triples):
        for begin, stop in _runs(words, at, most=max_pieces - 2):
            low = int(words.first[begin])
            high = min(int(words.last[stop - 1]), low + max_pieces - 2)  # the only word of a run may be longer
            windows.append(
                Window(
                    document=document,
                    sentence=position,
                    sentence_start=sentence.start,
                    ids=np.concatenate([begin_of, words.ids[low:high], end_of]),
                    first=words.first[begin:stop] + np.int32(1 - low),
                    start=words.start[begin:stop],
                    end=words.end[begin:stop],
                )
            )
    return windows


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of sentences, one sentence after another."""

    ids: np.ndarray  # int32 (pieces,)
    first: np.ndarray  # int32 (words,), first piece of each word
    last: np.ndarray  # int32 (words,), the piece after its last one
    start: np.ndarray  # int32 (words,), code points in the document
    end: np.ndarray  # int32 (words,)
    of_sentence: list[int]  # (sentences + 1,), first word of each sentence


def _join(encodings: Sequence[Encoding], *, starts: Sequence[int]) -> _Words:
    """Join the tokenizer's results for sentences that start at these code points: joint arrays save time."""
    ids = [encoding.ids for encoding in encodings]
    sentence = np.repeat(np.arange(len(ids)), [len(each) for each in ids])
    total = len(sentence)
    offsets = np.fromiter(_chained(_chained(each.offsets for each in encodings)), np.int32, 2 * total).reshape(-1, 2)
    offsets += np.asarray(starts, np.int32)[sentence, None]
    word = np.fromiter(_chained(each.word_ids for each in encodings), np.int32, total)
    begins = np.ones(total, bool)
    begins[1:] = (word[1:] != word[:-1]) | (sentence[1:] != sentence[:-1])
    first = np.flatnonzero(begins).astype(np.int32)
    last = np.append(first[1:], np.int32(total))[: len(first)]
    return _Words(
        ids=np.fromiter(_chained(ids), np.int32, total),
        first=first,
        last=last,
        start=offsets[first, 0],
        end=offsets[last - 1, 1],
        of_sentence=np.searchsorted(sentence[first], np.arange(len(ids) + 1)).tolist(),
    )


_chained = chain.from_iterable


def _runs(words: _Words, sentence: int, *, most: int) -> Iterator[tuple[int, int]]:
    """Yield the words, half-open, of each window of a sentence: as many as fit into `most` pieces, and at least one."""
    begin, end = words.of_sentence[sentence : sentence + 2]
    while begin < end:
        stop = end
        if words.last[end - 1] - words.first[begin] > most:
            fitting = np.searchsorted(words.last[begin:end], words.first[begin] + most, "right")
            stop = max(begin + int(fitting), begin + 1)
        yield begin, stop
        begin = stop


def positions_of(encoder: PreTrainedModel) -> int:
    """Return how many word pieces an encoder reads at once.

    RoBERTa and similar encoders number positions starting from the padding's id, so their last ones are never used.
    """
    tables = (module for name, module in encoder.named_modules() if name.endswith("position_embeddings"))
    before = next((table.padding_idx for table in tables if isinstance(table, nn.Embedding)), None)
    positions: int = getattr(encoder.config, "max_position_embeddings", 512)
    return positions if before is None else positions - before - 1


def longest_window(encoder: PreTrainedModel) -> int:
    """Return the maximum word pieces of a window for an encoder."""
    return min(LONGEST_WINDOW, positions_of(encoder))


def pieces_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of a tokenizer's word pieces and their ids."""
    return hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def batches_of(lengths: Sequence[int], *, tokens: int) -> list[np.ndarray]:
    """Group positions by similar length so that longest x count <= `tokens`; longest first, ties in order."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        count = max(1, tokens // int(lengths[order[begin]]))
        batches.append(order[begin : begin + count])
        begin += count
    return batches


def pad(sequences: Sequence[np.ndarray], *, padding: int) -> tuple[Tensor, Tensor]:
    """Pad id sequences to one length: ids and mask, both int64 (sequences, longest)."""
    longest = max(len(sequence) for sequence in sequences)
    ids = np.full((len(sequences), longest), padding, np.int64)
    mask = np.zeros((len(sequences), longest), np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)

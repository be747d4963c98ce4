"""Scores the low level on the dev split between epochs: strict spans, without a bank or document consistency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from e2emern.model.corpus import GoldDocument
from e2emern.model.evaluation.scores import Score
from e2emern.model.network import E2emernModel
from e2emern.model.tagging import find_word_spans
from e2emern.model.tokenization import Window, batches_of, make_windows, pad


@dataclass(frozen=True, slots=True)
class DevSplit:
    """Gold documents, their windows, and all their mentions as (document, start, end, type)."""

    documents: tuple[GoldDocument, ...]
    windows: tuple[Window, ...]
    gold: frozenset[tuple[int, int, int, str]]
    padding: int  # id of the padding piece


def make_dev(
    documents: Sequence[GoldDocument], *, tokenizer: PreTrainedTokenizerBase, max_pieces: int = 256
) -> DevSplit:
    """Prepare gold documents once for all epochs."""
    sentences = (document.sentences for document in documents)
    windows = make_windows(sentences, tokenizer=tokenizer, max_pieces=max_pieces)
    gold = frozenset((d, m.start, m.end, m.entity_type) for d, each in enumerate(documents) for m in each.mentions)
    return DevSplit(tuple(documents), tuple(windows), gold, int(tokenizer.pad_token_id))


@torch.inference_mode()
def score_spans(model: E2emernModel, dev: DevSplit, *, tokens: int = 4096) -> Score:
    """Return the micro-averaged score of strict spans, for the annotated types of each document.

    Args:
        tokens: word pieces a batch.
    """
    tags, found = model.config.tags, set()
    for batch in batches_of([len(window) for window in dev.windows], tokens=tokens):
        windows = [dev.windows[at] for at in batch]
        ids, mask = (part.to(model.device) for part in pad([w.ids for w in windows], padding=dev.padding))
        logged = model.low(model.encode(ids, mask)).float().log_softmax(-1).cpu().numpy()
        words = np.array([len(window.first) for window in windows])
        by_word = np.zeros((len(windows), int(words.max()), len(tags)), np.float32)
        for row, window in enumerate(windows):
            by_word[row, : words[row]] = logged[row, window.first]
        for window, spans in zip(windows, find_word_spans(by_word, words, tags=tags), strict=True):
            asked = dev.documents[window.document].annotated_types
            for span in spans:
                if span.entity_type in asked:
                    start, end = int(window.start[span.first]), int(window.end[span.last - 1])
                    found.add((window.document, start, end, span.entity_type))
    right = len(found & dev.gold)
    return Score(right, len(found) - right, len(dev.gold) - right)

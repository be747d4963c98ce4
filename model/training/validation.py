"""Scores the low level on the dev split between epochs: strict spans, without a bank or document consistency.

    python -m e2emern.model.training.validation MODEL --corpus FILE --splits ncbi-disease/dev,bc5cdr/dev

prints these scores for a trained model by split and type. It takes seconds, since nothing is linked. `ner` of the whole
model is higher, because the later stages correct many spans.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from e2emern.model.cli import fails_in_one_line
from e2emern.model.corpus import GoldDocument, read_corpus
from e2emern.model.evaluation.scores import Score
from e2emern.model.network import E2emernModel
from e2emern.model.pretrained import load_model
from e2emern.model.tagging import find_word_spans
from e2emern.model.tokenization import Window, batches_of, longest_window, make_windows, pad


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


def of_type(documents: Sequence[GoldDocument], entity_type: str) -> list[GoldDocument]:
    """Return the documents that annotate a type, as if it were the only one."""
    return [
        replace(
            document,
            annotated_types=(entity_type,),
            mentions=tuple(mention for mention in document.mentions if mention.entity_type == entity_type),
        )
        for document in documents
        if entity_type in document.annotated_types
    ]


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Score the tags of a model from the command line."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.model.training.validation", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    model, tokenizer, _ = load_model(options.model, device=options.device)
    for split in options.splits.split(","):
        documents = read_corpus(options.corpus, splits=[split])
        for entity_type in model.config.entity_types:
            if chosen := of_type(documents, entity_type):
                dev = make_dev(chosen, tokenizer=tokenizer, max_pieces=longest_window(model.encoder))
                score = score_spans(model, dev)
                figures = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
                shown = " ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())
                print(f"{split} {entity_type} {shown}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Annotation of a PubMed file, from parsing to Parquet, compared with the bare encoder on the same batches.

The batches are recorded in a first annotation, which also warms both sides up. The encoder then gets the same input
again, in the same order, padding and precision, but without tokenizer and heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.measuring import Result, Setting, alternated, cascade_of, corpus_of, spread
from e2emern.model.inference.cascade import Cascade
from e2emern.tasks.annotate import Annotated, annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.sources import find_sources

LINKING = ("candidates", "mid", "high")

Batch = tuple[Tensor, Tensor]  # word pieces and mask, (B, N)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Both sides measured in alternation: the annotation, the encoder's batches, and the seconds of each."""

    annotated: list[Annotated]
    batches: list[Batch]
    seconds: list[tuple[float, float]]


def annotate_over_encoder(setting: Setting) -> Result:
    """Return the abstracts per second of `annotate_source` over those of the bare encoder on the same batches."""
    rounds = rounds_of(setting)
    corpus = corpus_of(setting, name="annotated.xml.gz", abstracts=setting.abstracts)
    pieces = sum(int(mask.sum()) for _, mask in rounds.batches)
    places = sum(mask.numel() for _, mask in rounds.batches)
    stages = rounds.annotated[0].report.seconds
    return {
        **spread(rounds.seconds, sides=("annotate_source", "encoder")),
        "target": ">= 0.70",
        "abstracts_per_second": round(corpus.abstracts / median(annotate for annotate, _ in rounds.seconds), 2),
        **corpus.described(),
        "sentences": rounds.annotated[0].report.sentences,
        "mentions": rounds.annotated[0].mentions,
        "batches": len(rounds.batches),
        "word_pieces": pieces,
        "padding": round(1 - pieces / places, 4),
        "seconds_of_stages": {
            stage: round(median(one.report.seconds[stage] for one in rounds.annotated), 3) for stage in stages
        },
    }


def linking_over_encoder(setting: Setting) -> Result:
    """Return the seconds of linking (candidates, mid and high level) over the bare encoder's, with the full bank."""
    rounds = rounds_of(setting)
    cascade = cascade_of(setting)
    linking = [sum(one.report.seconds.get(stage, 0.0) for stage in LINKING) for one in rounds.annotated]
    seconds = [(encoder, mine) for mine, (_, encoder) in zip(linking, rounds.seconds, strict=True)]
    return {
        **spread(seconds, sides=("encoder", "linking")),
        "bank_names": len(cascade.bank),
        "concepts": len(cascade.vocabulary.concepts),
        "abstracts": setting.abstracts,
        "spans": rounds.annotated[0].report.spans_found,
        "candidates_scored": rounds.annotated[0].report.candidates_scored,
    }


@cache
def rounds_of(setting: Setting) -> Rounds:
    """Annotate and encode in alternation; one measurement serves both ratios."""
    corpus = corpus_of(setting, name="annotated.xml.gz", abstracts=setting.abstracts)
    [source] = find_sources([corpus.path])
    cascade = cascade_of(setting)
    documents = setting.home.documents(source.key)
    batches: list[Batch] = []

    def keep(encoder: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Tensor]) -> None:
        batches.append((named["input_ids"], named["attention_mask"]))

    def annotate() -> Annotated:
        documents.unlink(missing_ok=True)  # so that it is parsed each time
        return annotate_source(source, annotator=InProcess(cascade), home=setting.home)

    with sentences_seen(cascade, keep):
        annotate()
    annotated: list[Annotated] = []
    seconds = alternated(lambda: annotated.append(annotate()), lambda: encode(cascade, batches), rounds=setting.rounds)
    return Rounds(annotated, batches, seconds)


@contextmanager
def sentences_seen(cascade: Cascade, keep: Callable[..., None]) -> Iterator[None]:
    """Call `keep` with the inputs of the encoder for sentences, not those for names."""
    read = cascade.read_spans

    def read_and_keep(*args: Any, **options: Any) -> Any:
        with cascade.model.encoder.register_forward_pre_hook(keep, with_kwargs=True):
            return read(*args, **options)

    with patch.object(cascade, "read_spans", read_and_keep):
        yield


@torch.inference_mode()
def encode(cascade: Cascade, batches: list[Batch]) -> None:
    """Run the bare encoder over batches."""
    for ids, mask in batches:
        cascade.model.encode(ids, mask)
    if cascade.model.device.type == "cuda":
        torch.cuda.synchronize()

"""Trains the system of a row with a seed, calibrates it, and scores it on dev, document by document.

The span threshold and the resolver of every system are fitted on the same documents by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from e2emern.model.corpus import GoldDocument, GoldMention, text_of
from e2emern.model.document import Mention, Text
from e2emern.model.evaluation.baselines import exact_match
from e2emern.model.evaluation.comparison import mean_figure
from e2emern.model.evaluation.evaluate import annotate_gold, link_gold
from e2emern.model.evaluation.paper import count_paper
from e2emern.model.evaluation.scores import Counts, count, count_links
from e2emern.model.evaluation.slices import ALL
from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.cascade import Cascade, load_cascade
from e2emern.model.inference.features import FEATURES
from e2emern.model.inference.grouping import Span
from e2emern.model.inference.resolver import Resolver
from e2emern.model.inference.states import States
from e2emern.model.pretrained import load_model
from e2emern.model.training.calibrate import THRESHOLDS, tune
from e2emern.model.training.recipe import Recipe
from e2emern.model.training.train import train
from e2emern.model.vocabulary import Vocabulary
from experiments.baselines import TfIdf, dictionary_of
from experiments.data import Data
from experiments.rows import ROWS

Linker = Callable[[str, str], str | None]  # words and entity type to a concept
SLICES = ("string seen", "string unseen")  # of the protocol `ner` alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The settings that all rows share.

    Attributes:
        recipe: the recipe that rows and seeds change.
        folder: folder of the models, `ROW.SEED` each.
    """

    data: Data
    recipe: Recipe
    folder: Path
    device: str = "cpu"
    log: Callable[[str], None] = print


def run(name: str, seed: int, setting: Setting) -> Counts:
    """Return the counts of a row's system on dev: all protocols, and the slices of `ner`.

    Raises:
        RecipeError: the encoder or the data do not fit.
    """
    counts = _SYSTEMS[ROWS[name].system](name, seed, setting)
    return {cell: each for cell, each in counts.items() if cell.slice == ALL or cell.protocol == "ner"}


def train_row(name: str, seed: int, setting: Setting) -> Path:
    """Return the folder of a row's model, after training it if necessary."""
    changes: Mapping[str, Any] = ROWS[name].recipe or {}
    output = setting.folder / f"{name}.{seed}"
    train(
        replace(setting.recipe, **changes, seed=seed),
        corpus=setting.data.corpus,
        mesh=setting.data.mesh,
        output=output,
        folder=Path(),
        device=setting.device,
        log=setting.log,
    )
    return output


def _cascade(name: str, seed: int, setting: Setting) -> Counts:
    return _score_cascade(_load(train_row(name, seed, setting), setting), setting)


def _pipeline(name: str, seed: int, setting: Setting) -> Counts:
    linker = _load(train_row(name, seed, setting), setting)
    pipeline = Pipeline(
        linker.model,
        tokenizer=linker.tokenizer,
        vocabulary=linker.vocabulary,
        bank=linker.bank,
        model_version=linker.model_version,
    )
    pipeline.recogniser = _recogniser(seed, setting)
    return _score_cascade(pipeline, setting)


def _low(name: str, seed: int, setting: Setting) -> Counts:
    vocabulary = setting.data.vocabulary
    return _score_spans(_recogniser(seed, setting), lambda words, kind: exact_match(words, kind, vocabulary), setting)


def _tf_idf(name: str, seed: int, setting: Setting) -> Counts:
    nearest = TfIdf(setting.data.vocabulary).nearest
    recogniser, canonical = _recogniser(seed, setting), setting.data.vocabulary.canonical
    spans = _find_spans(recogniser, setting.data.tune)

    def linker(threshold: float) -> Linker:
        def concept_of(words: str, kind: str) -> str | None:
            concept, cosine = nearest(words, kind)
            return concept if cosine >= threshold else None

        return concept_of

    def document_f1(threshold: float) -> float:
        found = _link(spans, setting.data.tune, linker(threshold))
        return mean_figure(count(setting.data.tune, found, canonical=canonical, protocols=("document",)))

    return _score_spans(recogniser, linker(max(THRESHOLDS, key=document_f1)), setting, given=linker(0.0))


def _dictionary(name: str, seed: int, setting: Setting) -> Counts:
    data, names = setting.data, dictionary_of(setting.data.vocabulary)
    found = [names.annotate(document) for document in data.dev]
    canonical = data.vocabulary.canonical
    return count(data.dev, found, canonical=canonical, slicer=data.slicer) | _count_links(data, names.concept_of)


_SYSTEMS: Mapping[str, Callable[[str, int, Setting], Counts]] = {
    "cascade": _cascade,
    "pipeline": _pipeline,
    "low": _low,
    "tf-idf": _tf_idf,
    "dictionary": _dictionary,
}


class Pipeline(Cascade):
    """Two models: the spans are the recogniser's, everything else is the linker's."""

    recogniser: Cascade

    def read_spans(
        self, texts: Sequence[Text], *, given: Sequence[Sequence[tuple[int, int, str]]] | None = None
    ) -> tuple[States, list[Span]]:
        """Return the linker's states, with the spans that are given, or those of the recogniser."""
        states, spans = super().read_spans(texts, given=[[] for _ in texts] if given is None else given)
        if given is not None:
            return states, spans
        self.recogniser.recall_bias = self.recall_bias  # the linker decides whether low-confidence spans are found
        return states, self.recogniser.read_spans(texts)[1]


def _load(folder: Path, setting: Setting) -> Cascade:
    return load_cascade(folder, mesh=setting.data.mesh, banks=folder, device=setting.device)


def _score_cascade(cascade: Cascade, setting: Setting) -> Counts:
    """Calibrate a cascade and count it under every protocol, and the links of gold spans by one level alone."""
    data, canonical = setting.data, cascade.vocabulary.canonical
    cascade.span_threshold = 0.0
    if any(_find_spans(cascade, data.tune)):  # else there is nothing to fit on: the training was too short
        tune(cascade, data.tune, seen=data.train)
    found, _ = annotate_gold(cascade, data.dev)
    counts = count(data.dev, found, canonical=canonical, slicer=data.slicer)
    config = cascade.model.config
    resolvers = {"link": cascade.resolver}
    for level in [level for level in ("mid", "high") if getattr(config, f"use_{level}")]:
        only = np.array([name == level for name in FEATURES], np.float32)
        resolvers[f"recall@1 {level}"] = Resolver(only, np.zeros_like(cascade.resolver.none_weights))
    answers = link_gold(cascade, data.dev, resolvers=list(resolvers.values()))
    for protocol, rankings in zip(resolvers, answers, strict=True):
        counts |= count_links(data.dev, rankings, canonical=canonical, depths={protocol: 1})
    if config.use_high:
        counts |= count_paper(cascade, data.dev)
    return counts


def _recogniser(seed: int, setting: Setting) -> Cascade:
    """Return the model of `low`, with its threshold of spans chosen on the documents to tune on."""
    folder, data = train_row("low", seed, setting), setting.data
    model, tokenizer, version = load_model(folder, device=setting.device)
    nothing = Vocabulary(data.vocabulary.concepts[:1], version=data.vocabulary.version)  # nothing is searched for
    bank = EntityBank.build(model, nothing, tokenizer=tokenizer, rank=1).to(setting.device)
    cascade = Cascade(model, tokenizer=tokenizer, vocabulary=data.vocabulary, bank=bank, model_version=version)

    texts = list(map(text_of, data.tune))
    with torch.inference_mode():
        states, spans = cascade.read_spans(texts)

    def ner_f1(threshold: float) -> float:
        cascade.span_threshold = threshold
        kept = _by_document(cascade.agree(texts, states.windows, spans), len(texts))
        found = _link(kept, data.tune, lambda words, kind: None)
        return mean_figure(count(data.tune, found, canonical=str, protocols=("ner",)))

    cascade.span_threshold = max(THRESHOLDS, key=ner_f1)
    return cascade


@torch.inference_mode()
def _find_spans(cascade: Cascade, documents: Sequence[GoldDocument]) -> list[list[Span]]:
    """Return the spans of each document."""
    return _by_document(cascade.find_spans(list(map(text_of, documents)))[1], len(documents))


def _by_document(spans: Sequence[Span], documents: int) -> list[list[Span]]:
    found: list[list[Span]] = [[] for _ in range(documents)]
    for span in spans:
        found[span.document].append(span)
    return found


def _link(spans: Sequence[Sequence[Span]], documents: Sequence[GoldDocument], linker: Linker) -> list[list[Mention]]:
    """Return mentions of the spans, linked by their words; a short form counts as its long form."""
    return [
        [
            Mention(s.start, s.end, s.text, s.entity_type, 0, s.score,
                    linker(dict(document.abbreviations).get(s.text, s.text), s.entity_type))
            for s in found
        ]
        for found, document in zip(spans, documents, strict=True)
    ]  # fmt: skip


def _score_spans(recogniser: Cascade, linker: Linker, setting: Setting, *, given: Linker | None = None) -> Counts:
    """Count the recogniser's spans as they are linked, and gold spans linked by `given`, or else by the same linker."""
    data = setting.data
    found = _link(_find_spans(recogniser, data.dev), data.dev, linker)
    counts = count(data.dev, found, canonical=data.vocabulary.canonical, slicer=data.slicer)
    return counts | _count_links(data, given or linker)


def _count_links(data: Data, linker: Linker) -> Counts:
    def answer(document: GoldDocument, mention: GoldMention) -> list[str]:
        words = document.text[mention.start : mention.end]
        return [linker(dict(document.abbreviations).get(words, words), mention.entity_type) or ""]

    rankings = [[answer(document, mention) for mention in document.mentions] for document in data.dev]
    return count_links(data.dev, rankings, canonical=data.vocabulary.canonical, depths={"link": 1})

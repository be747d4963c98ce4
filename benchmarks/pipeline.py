"""The project compared with the usual approach: transformers' token classification, then the nearest name.

Both sides have the same weights, precision, bank and texts. The other side is `transformers.pipeline` with this model's
low level as its classifier. Each mention is encoded as a name, and linked to the concept of the nearest name.
It does less: it reads no context, has no levels, no abbreviations and no rule for when to leave a mention unlinked.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForTokenClassification, TokenClassificationPipeline

from benchmarks.measuring import Result, Setting, alternated, cascade_of, corpus_of, spread
from e2emern.model.document import Document
from e2emern.model.inference.bank import encode_names
from e2emern.model.inference.cascade import Cascade
from e2emern.model.tokenization import positions_of
from e2emern.tasks.documents import text_of
from e2emern.tasks.parsers import parse

BATCH = 8  # texts; more take longer on CPUs, since each is padded to the longest
SHARED = 1 / 8  # of a window of a long text, with the next one


def annotate_over_pipeline(setting: Setting) -> Result:
    """Return the speed of `Cascade.annotate` as a multiple of the pipeline's, in batches and one text at a time."""
    corpus = corpus_of(setting, name="piped.xml.gz", abstracts=max(8, setting.abstracts // 4))
    documents = [record for record in parse(corpus.path) if isinstance(record, Document)]
    cascade = cascade_of(setting)
    usual = _Usual(cascade)
    texts = [document.text for document in documents]

    def ours() -> None:
        cascade.annotate([text_of(document) for document in documents])

    ours()
    batched = alternated(ours, lambda: usual.annotate(texts, batch=BATCH), rounds=setting.rounds)
    single = alternated(ours, lambda: [usual.annotate([text], batch=1) for text in texts], rounds=setting.rounds)
    return {
        **spread(batched, sides=("annotate", "pipeline in batches")),
        "target": ">= 4",
        "over_one_text_at_a_time": round(median(other / mine for mine, other in single), 2),
        "abstracts_per_second": round(len(texts) / median(mine for mine, _ in [*batched, *single]), 1),
        "mentions_of_the_pipeline": sum(len(found) for found in usual.annotate(texts, batch=BATCH)),
        **corpus.described(),
    }


class _Usual:
    """Token classification and the nearest name, with the weights of a cascade."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        config = cascade.model.config
        options = config.encoder | {"id2label": dict(enumerate(config.tags))}
        described = AutoConfig.for_model(options.pop("model_type"), **options)
        made: Any = AutoModelForTokenClassification  # untyped in transformers
        model = made.from_config(described, dtype=cascade.model.dtype)
        base: nn.Module = getattr(model, model.base_model_prefix)
        base.load_state_dict(cascade.model.encoder.state_dict(), strict=False)
        model.classifier.load_state_dict(cascade.model.low_head.state_dict())
        cascade.tokenizer.model_max_length = positions_of(cascade.model.encoder)
        untyped: Any = TokenClassificationPipeline
        self.classify = untyped(
            model=model.eval().to(cascade.model.device), tokenizer=cascade.tokenizer,
            aggregation_strategy="first", stride=int(SHARED * cascade.tokenizer.model_max_length),
        )  # fmt: skip

    @torch.inference_mode()
    def annotate(self, texts: list[str], *, batch: int) -> list[list[tuple[int, int, str]]]:
        """Return start, end and concept of the mentions of each text; the names of all texts are looked up at once."""
        found = self.classify(texts, batch_size=batch)
        mentions = [(at, each) for at, of_text in enumerate(found) for each in of_text]
        annotated: list[list[tuple[int, int, str]]] = [[] for _ in texts]
        cascade = self.cascade
        for kind in {each["entity_group"] for _, each in mentions}:
            mine = [(at, each) for at, each in mentions if each["entity_group"] == kind]
            words = [texts[at][each["start"] : each["end"]] for at, each in mine]
            encoded = encode_names(cascade.model, words, tokenizer=cascade.tokenizer, tokens=cascade.tokens)
            within = cascade.vocabulary.slice_of(kind)
            nearest = cascade.bank.search(encoded.to(cascade.model.device), within=within, k=1, cosine=True)
            for (at, each), [concept] in zip(mine, nearest, strict=True):
                annotated[at].append((each["start"], each["end"], cascade.vocabulary.concepts[concept].mesh_id))
        return annotated

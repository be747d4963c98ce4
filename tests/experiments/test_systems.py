"""The pipeline finds spans according to its linker."""

from __future__ import annotations

import torch

from e2emern.model.document import Text
from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.cascade import RECALL_BIAS, Cascade
from experiments.systems import Pipeline
from tests.model import tiny


def test_the_pipeline_finds_low_confidence_spans_if_its_linker_can_refuse() -> None:
    network, vocabulary = tiny.network(hidden=32), tiny.vocabulary()
    network.low_head.bias.data[0] += 5  # O is most probable everywhere, in some places only slightly
    bank = EntityBank.build(network, vocabulary, tokenizer=tiny.tokenizer(), rank=32)

    def made(kind: type[Cascade]) -> Cascade:
        return kind(network, tokenizer=tiny.tokenizer(), vocabulary=vocabulary, bank=bank, model_version="m")

    pipeline, alone = made(Pipeline), made(Cascade)
    assert isinstance(pipeline, Pipeline)
    pipeline.recogniser = made(Cascade)
    texts = [Text(document.sentences, {}) for document in tiny.gold()]
    found = []
    with torch.inference_mode():
        for look in (0.0, RECALL_BIAS):
            pipeline.recall_bias = alone.recall_bias = look
            found.append(pipeline.find_spans(texts)[1])
            assert found[-1] == alone.find_spans(texts)[1]
    assert len(found[1]) > len(found[0])

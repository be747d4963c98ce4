"""Inputs to test retraining: recipes that teach much or nothing, gold, real text, and a poor champion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from e2emern.model.corpus import write_corpus
from e2emern.model.pretrained import load_model, save_model
from e2emern.model.seen import Seen, write_seen
from e2emern.model.version import model_version
from e2emern.tasks.evaluation.promotion_gate import Margins
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import add_model, promote
from tests.flows.world import World, articles, pubmed
from tests.model import tiny

MARGINS = Margins(
    least_gold=1, least_documents=1, throughput=0.01
)  # a text takes a millisecond, so the ratio means nothing
_RECIPE = """
encoder = "encoder"
corpus = "corpus.parquet"
train = ["tiny/{train}"]
dev = ["tiny/{dev}"]
epochs = {epochs}
tokens = 60
encoder_rate = {rate}
head_rate = {rate}
precision = "fp32"
"""


def make_challengers(folder: Path, world: World) -> Path:
    """Write `good.toml` and `bad.toml` with inputs, `sample.xml`, and the model `poor`, which mistakes every word."""
    tiny.save_encoder(folder / "encoder")
    gold = [replace(one, document_id=f"{at}{one.document_id}") for at in range(4) for one in tiny.gold()]
    dev = [replace(one, document_id=f"d{at}{one.document_id}") for at in range(3) for one in tiny.gold(split="dev")]
    # without mentions: they teach the low level, and the resolver too, that there are none
    none = [replace(one, split="none", mentions=()) for one in gold]
    none_dev = [replace(one, split="none-dev", document_id=f"n{one.document_id}", mentions=()) for one in dev]
    write_corpus([*gold, *dev, *none, *none_dev], folder / "corpus.parquet")
    (folder / "good.toml").write_text(_RECIPE.format(train="train", dev="dev", epochs=6, rate=5e-3))
    (folder / "bad.toml").write_text(_RECIPE.format(train="none", dev="none-dev", epochs=6, rate=5e-3))
    (folder / "sample.xml").write_text(pubmed(articles(4, first=300)))
    model, tokenizer, _ = load_model(world.model, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        model.low_head.weight.mul_(-1)
    save_model(model, tokenizer, folder / "poor")
    write_seen(folder / "poor", Seen())
    return folder


def crown(home: Home, folder: Path) -> str:
    """Make a model the champion of a home, and return its version."""
    version = model_version(folder)
    add_model(home, folder, version=version)
    promote(home, version, over=None)
    return version

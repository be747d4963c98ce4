"""A training that is stopped and resumed, and one that learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.corpus import GoldDocument, read_corpus, write_corpus
from model.train import Recipe, rate_at, train
from tests.model import tiny
from warehouse.entities import write_entities
from warehouse.layout import Home


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a corpus and an entities table."""
    folder = tmp_path_factory.mktemp("data")
    tiny.save_encoder(folder / "encoder")
    write_corpus(tiny.gold() * 3, folder / "corpus.parquet")
    rows = [
        {
            "mesh_id": c.mesh_id, "name": c.name, "names": list(c.names), "entity_type": c.entity_type,
            "tree_numbers": list(c.tree_numbers), "record_type": c.record_type, "mapped_to": list(c.mapped_to),
            "aliases": [], "mesh_version": "tiny",
        }
        for c in tiny.CONCEPTS
    ]  # fmt: skip
    write_entities(Home(folder), rows, mesh_version="tiny")
    return folder


def recipe(data: Path, **options: object) -> Recipe:
    settings: dict[str, object] = {"epochs": 3, "tokens": 40, "random_negatives": 3, "encoder_rate": 1e-3, **options}
    return Recipe(encoder=str(data / "encoder"), train=("tiny/train",), **settings)  # type: ignore[arg-type]


def run(data: Path, output: Path, *, made: Recipe | None = None, **options: object) -> dict[str, torch.Tensor]:
    train(
        made or recipe(data),
        corpus=data / "corpus.parquet",
        mesh=data / "entities/tiny.parquet",
        output=output,
        **options,
    )  # type: ignore[arg-type]
    found = output / "model.safetensors"
    return load_file(found) if found.exists() else {}


def test_a_training_that_stops_and_goes_on_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole = run(data, tmp_path / "whole")
    for _ in range(2):
        assert run(data, tmp_path / "parts", stop_after=4) == {}
    parts = run(data, tmp_path / "parts")
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_killed_training_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    arguments = [
        sys.executable, "-m", "model.train", "--corpus", str(data / "corpus.parquet"), "--device", "cpu",
        "--mesh", str(data / "entities/tiny.parquet"), "--encoder", str(data / "encoder"), "--train", "tiny/train",
        "--epochs", "3", "--tokens", "40", "--save-every", "0", "--output", str(tmp_path / "killed"),
    ]  # fmt: skip
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        give_up = time.monotonic() + 120
        while not (tmp_path / "killed" / "checkpoint").exists() and time.monotonic() < give_up:
            os.sched_yield()
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    subprocess.run(arguments, check=True, capture_output=True)
    undisturbed = [*arguments[:-1], str(tmp_path / "undisturbed")]
    subprocess.run(undisturbed, check=True, capture_output=True)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "undisturbed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_lowers_every_loss_and_keeps_its_curve(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "long", made=recipe(data, epochs=40, head_rate=5e-3))
    curve = [json.loads(line) for line in (tmp_path / "long" / "loss.jsonl").read_text().splitlines()]
    for part in ("low", "mid", "high", "candidate"):
        assert curve[-1][part] < 0.8 * curve[0][part], part


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "printed"},
        {"attention": "released", "fusion": "concatenation"},
        {"use_mid": False},
        {"use_high": False},
    ],
)
def test_every_variant_of_the_paper_trains(data: Path, tmp_path: Path, options: dict[str, object]) -> None:
    weights = run(data, tmp_path / "variant", made=recipe(data, epochs=1, **options))
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_weights_are_half_precision_safetensors(data: Path, tmp_path: Path) -> None:
    weights = run(data, tmp_path / "model", made=recipe(data, epochs=1))
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_rate_rises_then_falls_to_zero() -> None:
    rates = [rate_at(step, steps=10, warmup=0.2) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == 0.0
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_corpus_reads_back_as_it_was_written(tmp_path: Path) -> None:
    documents: list[GoldDocument] = tiny.gold()
    assert write_corpus(documents, tmp_path / "c.parquet") == 5
    assert read_corpus(tmp_path / "c.parquet") == documents
    assert read_corpus(tmp_path / "c.parquet", splits=["tiny/train"]) == documents
    with pytest.raises(ValueError, match="no split tiny/dev; it holds tiny/train"):
        read_corpus(tmp_path / "c.parquet", splits=["tiny/dev"])

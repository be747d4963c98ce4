"""A training that is stopped and resumed, and one that learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertModel

from e2emern.model.corpus import GoldDocument, read_corpus, write_corpus
from e2emern.model.pretrained import load_model
from e2emern.model.tokenization import make_windows
from e2emern.model.training import encoders
from e2emern.model.training.distillation import described, silver_table, tag_windows
from e2emern.model.training.recipe import Recipe, RecipeError
from e2emern.model.training.train import Trained, main, rate_at, train
from e2emern.model.training.validation import make_dev, score_spans
from tests.model import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an encoder, a corpus and an entities table."""
    folder = tmp_path_factory.mktemp("data")
    tiny.save_training(folder)
    return folder


@pytest.fixture(scope="module")
def silver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny sentences, tagged by a model that knows them by heart."""
    sentences = (document.sentences for document in tiny.gold())
    windows = make_windows(sentences, tokenizer=tiny.tokenizer(), max_pieces=64)
    teacher = tiny.learn(tiny.network(), tiny.vocabulary())
    table = silver_table(windows, tag_windows([teacher], windows, padding=0))
    path = tmp_path_factory.mktemp("silver") / "silver.parquet"
    pq.write_table(described(table, tags=teacher.config.tags, tokenizer=tiny.tokenizer()), path)
    return path


def recipe(data: Path, **options: object) -> Recipe:
    settings: dict[str, object] = {
        "encoder": "encoder", "train": ("tiny/train",), "epochs": 3, "tokens": 40, "random_negatives": 3,
        "encoder_rate": 1e-3, **options,
    }  # fmt: skip
    return Recipe(**settings)  # type: ignore[arg-type]


def run(data: Path, output: Path, *, made: Recipe | None = None, **options: object) -> Trained:
    return train(
        made or recipe(data),
        corpus=data / "corpus.parquet",
        mesh=data / "entities/tiny.parquet",
        output=output,
        folder=data,
        **options,
    )  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    """Return whether two trainings have the same weights and curves."""
    one, other = weights(first), weights(second)
    curves = [name for name in ("loss.jsonl", "dev.jsonl") if (first / name).exists()]
    return set(one) == set(other) and all(
        [torch.equal(one[name], other[name]) for name in one]
        + [(first / name).read_text() == (second / name).read_text() for name in curves]
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2, "dev": ("tiny/dev",), "epochs": 4, "patience": 2},
        {"precision": "fp16"},
        {"silver_weight": 0.5, "accumulate": 2},
    ],
    ids=["plain", "accumulated, stopping early", "scaled", "taught"],
)
def test_a_resumed_training_ends_with_the_same_weights(
    data: Path, silver: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    made, taught_by = recipe(data, **options), silver if "silver_weight" in options else None
    whole = run(data, tmp_path / "whole", made=made, silver=taught_by)
    parts = run(data, tmp_path / "parts", made=made, stop_after=3, silver=taught_by)
    assert not parts.finished
    while not parts.finished:
        assert not (tmp_path / "parts" / "model.safetensors").exists()
        parts = run(data, tmp_path / "parts", made=made, stop_after=3, silver=taught_by)
    assert parts.dev_f1 == whole.dev_f1
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert not (tmp_path / "parts" / "checkpoint").exists()


def test_a_training_continues_on_a_host_of_another_precision(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: `auto` is bf16 on one host and fp32 on another, and the checkpoint was refused as another training's."""
    lines: list[str] = []
    for precision in ("bf16", "fp32", "bf16"):
        monkeypatch.setattr("e2emern.model.training.recipe.fastest_precision", lambda device, one=precision: one)
        done = run(data, tmp_path / "model", stop_after=None if precision == "bf16" and lines else 2, log=lines.append)
    assert done.finished
    assert "begun on a host that trains in bf16, continued in fp32" in lines
    monkeypatch.setattr("e2emern.model.training.recipe.fastest_precision", lambda device: "fp32")
    assert run(data, tmp_path / "model").finished
    assert json.loads((tmp_path / "model" / "recipe.json").read_text())["precision"] == "bf16"


CONFIG = """
encoder = "encoder"
corpus = "corpus.parquet"
mesh = "entities/tiny.parquet"
train = ["tiny/train"]
dev = ["tiny/dev"]
epochs = 3
tokens = 40
"""


def test_a_killed_training_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    (data / "train.toml").write_text(CONFIG)
    arguments = [
        sys.executable, "-m", "e2emern.model.training.train", "--config", str(data / "train.toml"), "--device", "cpu",
        "--save-every", "0", "--output",
    ]  # fmt: skip
    killed = [*arguments, str(tmp_path / "killed")]
    with subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        give_up = time.monotonic() + 120
        while not (tmp_path / "killed" / "checkpoint").exists() and time.monotonic() < give_up:
            os.sched_yield()
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    for name in ("killed", "undisturbed"):
        assert main([*arguments[3:], str(tmp_path / name)]) == 0
    assert same(tmp_path / "killed", tmp_path / "undisturbed")


def test_training_lowers_every_loss_and_keeps_its_curve(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "long", made=recipe(data, epochs=24, tokens=60, head_rate=5e-3, precision="fp32"))
    curve = [json.loads(line) for line in (tmp_path / "long" / "loss.jsonl").read_text().splitlines()]
    for part in ("low", "mid", "high", "candidate"):
        assert curve[-1][part] < 0.8 * curve[0][part], part


def test_a_student_learns_from_a_teacher_what_gold_lacks(data: Path, silver: Path, tmp_path: Path) -> None:
    untaught = [
        replace(document, mentions=(), annotated_types=("Chemical",))
        for document in tiny.gold()
        if not document.mentions
    ]
    write_corpus([*untaught, *tiny.gold(split="dev")], tmp_path / "corpus.parquet")
    made = recipe(
        data, dev=("tiny/dev",), epochs=60, head_rate=1e-2, encoder_rate=5e-3, precision="fp32", low_weight=0.0
    )
    options = {"corpus": tmp_path / "corpus.parquet", "mesh": data / "entities/tiny.parquet", "folder": data}
    taught = train(made, output=tmp_path / "taught", silver=silver, **options)  # type: ignore[arg-type]
    alone = train(made, output=tmp_path / "alone", **options)  # type: ignore[arg-type]
    assert max(taught.dev_f1) > 0.8 > max(alone.dev_f1)
    curve = [json.loads(line) for line in (tmp_path / "taught" / "loss.jsonl").read_text().splitlines()]
    assert curve[-1]["silver"] < 0.5 * curve[0]["silver"]
    digests = [
        json.loads((tmp_path / name / "recipe.json").read_text())["silver_digest"] for name in ("taught", "alone")
    ]
    assert digests[0] is not None
    assert digests[1] is None


def test_the_weights_of_the_best_epoch_on_dev_are_kept(data: Path, tmp_path: Path) -> None:
    made = recipe(data, dev=("tiny/dev",), epochs=12, head_rate=1e-2, patience=3, precision="fp32")
    trained = run(data, tmp_path / "model", made=made)
    best = trained.best_epoch
    assert best is not None
    assert trained.dev_f1[best] == max(trained.dev_f1) > 0.5
    curve = [json.loads(line) for line in (tmp_path / "model" / "dev.jsonl").read_text().splitlines()]
    assert tuple(row["f1"] for row in curve) == trained.dev_f1
    model, tokenizer, _ = load_model(tmp_path / "model", device="cpu", dtype=torch.float32)
    dev = make_dev(read_corpus(data / "corpus.parquet", splits=["tiny/dev"]), tokenizer=tokenizer, max_pieces=64)
    assert score_spans(model, dev).f1 == pytest.approx(trained.dev_f1[best], abs=1e-4)


def test_training_without_gain_on_dev_ends_early(data: Path, tmp_path: Path) -> None:
    still = recipe(data, dev=("tiny/dev",), epochs=9, patience=2, encoder_rate=0.0, head_rate=0.0)
    assert len(run(data, tmp_path / "model", made=still).dev_f1) == 3


def test_a_batch_too_big_for_the_memory_is_halved_with_the_same_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(data, epochs=2, tokens=120, dropout=0.0, precision="fp32", encoder_rate=1e-4)
    run(data, tmp_path / "whole", made=made)
    forward, lines = BertModel.forward, list[str]()

    def small(self: BertModel, *arguments: object, **options: object) -> object:
        if options["inputs_embeds"].shape[0] > 8:  # type: ignore[attr-defined]  # more sentences or names than fit
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, *arguments, **options)

    monkeypatch.setattr(BertModel, "forward", small)
    run(data, tmp_path / "halved", made=made, log=lines.append)
    assert "out of memory: each batch is now split into 2 parts, with the same losses" in lines
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "halved")
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=2e-3, rtol=0)
    curves = [json.loads((tmp_path / name / "loss.jsonl").read_text()) for name in ("whole", "halved")]
    assert curves[0] == pytest.approx(curves[1], abs=2e-4)


def test_too_little_memory_for_one_sentence_is_an_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object, **options: object) -> object:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(BertModel, "forward", none)
    with pytest.raises(RecipeError, match="out of memory with one sentence at a time; lower tokens, or --device cpu"):
        run(data, tmp_path / "model")


def test_frozen_embeddings_do_not_change(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "model", made=recipe(data, freeze_embeddings=True))
    before = load_file(data / "encoder" / "model.safetensors")
    after = weights(tmp_path / "model")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(after[f"encoder.{name}"], before[name].half())
    assert not torch.equal(after["encoder.embeddings.LayerNorm.weight"], before["embeddings.LayerNorm.weight"].half())


def test_an_output_of_another_recipe_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "model", stop_after=1)
    with pytest.raises(RecipeError, match="holds a training with epochs 3, but this one has 4; choose another"):
        run(data, tmp_path / "model", made=recipe(data, epochs=4))
    run(data, tmp_path / "model")
    with pytest.raises(RecipeError, match="holds a training with seed 0, but this one has 7"):
        run(data, tmp_path / "model", made=recipe(data, seed=7))
    lines = list[str]()
    assert run(data, tmp_path / "model", log=lines.append).finished
    assert lines == [f"{tmp_path / 'model'} is already trained"]


def test_a_model_of_ours_is_an_encoder_too(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "first", made=recipe(data, use_mid=False, use_high=False, epochs=1))
    second = run(data, tmp_path / "second", made=recipe(data, encoder=str(tmp_path / "first"), epochs=1))
    assert second.finished
    assert "mid_head.weight" in weights(tmp_path / "second")


def test_an_invalid_encoder_is_one_line(data: Path, tmp_path: Path) -> None:
    (data / "empty").mkdir(exist_ok=True)
    with pytest.raises(RecipeError, match=r"^encoder empty: expected a folder, a folder of an installed package"):
        run(data, tmp_path / "model", made=recipe(data, encoder="empty"))


def test_a_tokenizer_that_is_not_the_encoders_is_refused(data: Path, tmp_path: Path) -> None:
    # Cause: transformers makes a tokenizer of five pieces if there is none, so every word was unknown.
    tiny.encoder(hidden=32).save_pretrained(data / "bare")
    pieces = len(tiny.tokenizer())
    with pytest.raises(RecipeError, match=f"^encoder bare: found a tokenizer of 5 word pieces, .* of {pieces}$"):
        run(data, tmp_path / "model", made=recipe(data, encoder="bare"))
    larger = tiny.tokenizer()
    larger.add_tokens(["breast cancer"])
    larger.save_pretrained(data / "bare")
    with pytest.raises(RecipeError, match=f"found a tokenizer of {pieces + 1} word pieces, .* of {pieces}$"):
        run(data, tmp_path / "model", made=recipe(data, encoder="bare"))


def test_a_hub_that_does_not_answer_is_asked_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def away(url: str) -> None:
        asked.append(url)
        raise RuntimeError("no route to it")  # HTTP clients raise errors of various types

    monkeypatch.setattr(encoders, "get_hf_file_metadata", away)
    monkeypatch.setattr(encoders, "try_to_load_from_cache", lambda name, file: None)
    with pytest.raises(RecipeError, match=r"^encoder my-encodr: expected .*: no such folder, and the hub"):
        run(data, tmp_path / "model", made=recipe(data, encoder="my-encodr"))
    assert asked == ["https://huggingface.co/my-encodr/resolve/main/config.json"]


def test_a_reason_of_several_lines_is_reported_whole(data: Path, tmp_path: Path) -> None:
    (data / "modern").mkdir()
    (data / "modern" / "config.json").write_text('{"model_type": "modernbert"}')
    with pytest.raises(RecipeError, match=r"^encoder modern: .* backend tokenizer from one of: \(1\) a .* \(3\)"):
        run(data, tmp_path / "model", made=recipe(data, encoder="modern"))


def test_a_split_that_the_corpus_lacks_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no split tiny/test; it holds tiny/dev, tiny/train"):
        run(data, tmp_path / "model", made=recipe(data, train=("tiny/test",)))


def test_gradients_that_explode_end_the_training(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the loss is nan at step \d+; lower encoder_rate or head_rate"):
        run(data, tmp_path / "model", made=recipe(data, epochs=30, encoder_rate=1.0, head_rate=1.0, mid_weight=1e38))


def test_another_architecture_trains_in_full_precision(data: Path, tmp_path: Path) -> None:
    tiny.encoder(hidden=32, kind="roberta").save_pretrained(data / "roberta")
    tiny.tokenizer().save_pretrained(data / "roberta")
    run(data, tmp_path / "model", made=recipe(data, encoder="roberta", precision="fp32", epochs=1))
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "model").values())


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
    run(data, tmp_path / "variant", made=recipe(data, epochs=1, **options))
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "variant").values())


def test_weights_are_half_precision_safetensors(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "model", made=recipe(data, epochs=1))
    assert {tensor.dtype for tensor in weights(tmp_path / "model").values()} == {torch.float16}


def test_rate_rises_then_falls_to_zero() -> None:
    made = Recipe(encoder="encoder", train=("tiny/train",), warmup=0.2)
    rates = [rate_at(step, steps=10, recipe=made) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == 0.0
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_constant_rate_stays_where_it_rose_to() -> None:
    made = Recipe(encoder="encoder", train=("tiny/train",), warmup=0.5, schedule="constant")
    assert [rate_at(step, steps=4, recipe=made) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_a_corpus_reads_back_as_it_was_written(tmp_path: Path) -> None:
    documents: list[GoldDocument] = tiny.gold()
    assert write_corpus(documents, tmp_path / "c.parquet") == 5
    assert read_corpus(tmp_path / "c.parquet") == documents
    assert read_corpus(tmp_path / "c.parquet", splits=["tiny/train"]) == documents
    with pytest.raises(ValueError, match="no split tiny/dev; it holds tiny/train"):
        read_corpus(tmp_path / "c.parquet", splits=["tiny/dev"])


def test_a_corpus_without_a_word_is_an_error(data: Path, tmp_path: Path) -> None:
    write_corpus([GoldDocument("tiny", "train", "1", ("Disease",), " ", (), (), ())], tmp_path / "corpus.parquet")
    with pytest.raises(RecipeError, match=r"corpus\.parquet: no word to train on, in 1 document of tiny/train"):
        train(
            recipe(data), corpus=tmp_path / "corpus.parquet", mesh=data / "entities/tiny.parquet",
            output=tmp_path / "out", folder=data, log=lambda line: None,
        )  # fmt: skip


def test_a_table_that_is_not_a_vocabulary_is_an_error(data: Path, tmp_path: Path) -> None:
    reason = "no column mesh_id, names, .*; expected an entities table"
    with pytest.raises(RecipeError, match=rf"^\S*corpus\.parquet: cannot be read as an entities table: {reason}"):
        train(recipe(data), corpus=data / "corpus.parquet", mesh=data / "corpus.parquet", output=tmp_path, folder=data)

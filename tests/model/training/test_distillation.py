"""Sentences tagged by models: the stored probabilities, and learning from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from e2emern.model.document import Sentence
from e2emern.model.network import E2emernModel
from e2emern.model.tokenization import Window, make_windows
from e2emern.model.training.distillation import (
    SILVER_SCHEMA,
    Silver,
    SilverBatch,
    described,
    read_silver,
    silver_loss,
    silver_table,
    tag_windows,
    words_of,
)
from e2emern.model.training.recipe import RecipeError
from tests.model import tiny

TAGS = tiny.network().config.tags


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def other_network() -> E2emernModel:
    model = tiny.network()
    torch.manual_seed(5)
    model.low_head.weight.data.normal_(std=0.5)
    return model


def windows() -> list[Window]:
    sentences = ([Sentence(0, len(text), text)] for text, _ in tiny.SENTENCES)
    return make_windows(sentences, tokenizer=tiny.tokenizer(), max_pieces=64)


def write(path: Path, tagged: list[np.ndarray], *, tags: list[str] = TAGS) -> Path:
    pq.write_table(described(silver_table(windows(), tagged), tags=tags, tokenizer=tiny.tokenizer()), path)
    return path


def read(path: Path, *, tokens: int = 1024) -> Silver:
    return read_silver(path, tags=TAGS, tokenizer=tiny.tokenizer(), tokens=tokens, seed=0)


def test_the_mean_probabilities_of_the_models_are_stored() -> None:
    models = [tiny.network(), other_network()]
    alone = [tag_windows([model], windows(), padding=0) for model in models]
    together = tag_windows(models, windows(), padding=0, tokens=20)
    for window, first, second, both in zip(windows(), *alone, together, strict=True):
        assert both.shape == (len(window.first), len(TAGS))
        np.testing.assert_allclose(both, (first + second) / 2, atol=1e-5)
        np.testing.assert_allclose(both.sum(1), 1, atol=1e-5)
        assert np.abs(first - second).max() > 0.05


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    tagged = tag_windows([tiny.network()], windows(), padding=0)
    silver = read(write(tmp_path / "silver.parquet", tagged))
    for window, wanted, (pieces, first, found) in zip(windows(), tagged, silver.sentences, strict=True):
        np.testing.assert_array_equal(pieces, window.ids)
        np.testing.assert_array_equal(first, window.first)
        np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_probabilities_are_at_the_first_piece_of_their_word(tmp_path: Path) -> None:
    tagged = tag_windows([tiny.network()], windows(), padding=0)
    batch = read(write(tmp_path / "silver.parquet", tagged)).batch(0)
    assert batch.ids.shape == batch.mask.shape == batch.probabilities.shape[:2]
    assert int(words_of(batch)) == sum(len(window.first) for window in windows())
    of_ids = {tuple(window.ids): (window, each) for window, each in zip(windows(), tagged, strict=True)}
    for ids, mask, found in zip(batch.ids, batch.mask, batch.probabilities, strict=True):
        window, wanted = of_ids[tuple(ids[mask.bool()].tolist())]
        np.testing.assert_allclose(found[window.first], wanted, atol=1e-3)
        assert found.sum() == pytest.approx(len(window.first), abs=0.01)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 30), min_size=1, max_size=40), tokens=st.integers(10, 90), seen=st.integers(0, 3)
)
def test_every_sentence_comes_once_before_any_comes_again(lengths: list[int], tokens: int, seen: int) -> None:
    made = [(np.full(n, at, np.int32), np.array([1]), np.ones((1, 5), np.float32)) for at, n in enumerate(lengths)]
    silver = Silver(made, padding=-1, tokens=tokens, seed=1)
    batches = [silver.batch(seen * len(silver) + number) for number in range(len(silver))]
    assert sorted(int(row[0]) for batch in batches for row in batch.ids) == list(range(len(lengths)))
    for number, batch in enumerate(batches):
        assert batch.ids.numel() <= max(tokens, max(lengths))
        assert torch.equal(silver.batch(seen * len(silver) + number).ids, batch.ids)


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_the_losses_of_its_parts_add_up_to_that_of_a_batch(tmp_path: Path, parts: int) -> None:
    student = other_network()
    tagged = tag_windows([tiny.network()], windows(), padding=0)
    batch = read(write(tmp_path / "silver.parquet", tagged)).batch(0)
    whole = silver_loss(student, batch)
    split = batch.split(parts)
    assert len(split) == min(parts, len(windows()))
    summed = sum(float(silver_loss(student, part, total=words_of(batch))) for part in split)
    assert summed == pytest.approx(float(whole), abs=1e-5)


def test_the_loss_is_smallest_for_the_teacher_itself(tmp_path: Path) -> None:
    teacher = tiny.network()
    tagged = tag_windows([teacher], windows(), padding=0)
    batch = read(write(tmp_path / "silver.parquet", tagged)).batch(0)
    words = np.concatenate(tagged)
    entropy = -(words * np.log(words)).sum(1).mean()
    assert float(silver_loss(teacher, batch)) == pytest.approx(entropy, abs=1e-3)
    assert float(silver_loss(other_network(), batch)) > entropy + 0.05


def test_without_any_word_there_is_no_loss() -> None:
    model = tiny.network()
    batch = SilverBatch(torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.int64), torch.zeros(1, 4, len(TAGS)))
    assert float(silver_loss(model, batch)) == 0.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"pieces": [1]}), "expected tagged sentences, as `e2emern silver` writes them"),
        (SILVER_SCHEMA.empty_table(), "expected tagged sentences, as `e2emern silver` writes them"),
        (described(silver_table(windows(), [np.ones((len(w.first), 3)) for w in windows()]),
                   tags=["O", "B-Gene", "I-Gene"], tokenizer=tiny.tokenizer()), "by models with other tags"),
        (silver_table(windows(), [np.ones((len(w.first), 5)) for w in windows()]), "by models with other tags"),
    ],
)  # fmt: skip
def test_unusable_tagged_sentences_are_one_line(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "silver.parquet")
    with pytest.raises(RecipeError, match=f"silver.parquet: .*{message}"):
        read(tmp_path / "silver.parquet")


def test_an_equally_large_but_different_word_piece_vocabulary_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "silver.parquet", tag_windows([tiny.network()], windows(), padding=0))
    tiny.tokenizer().save_pretrained(tmp_path)
    content = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(content.replace('"rash"', '"hives"'))
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert len(other) == len(tiny.tokenizer())
    with pytest.raises(RecipeError, match="other word pieces"):
        read_silver(tmp_path / "silver.parquet", tags=TAGS, tokenizer=other, tokens=64, seed=0)


def test_a_file_that_is_not_parquet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "silver.parquet").write_text("text")
    with pytest.raises(RecipeError, match=r"silver.parquet: cannot be read as tagged sentences: .*$") as raised:
        read(tmp_path / "silver.parquet")
    assert "\n" not in str(raised.value)

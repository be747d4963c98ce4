"""Pre-training on a short text: it learns, resumes, and continues with a larger budget."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from e2emern.model.pretrained import save_model
from e2emern.model.training.pretrain import (
    MaskedLanguageModel,
    continuing_pieces,
    learning_rate,
    main,
    mask_words,
    pack_text,
    pretrain,
)
from e2emern.model.training.recipe import RecipeError
from tests.model import tiny

LINES = [text for text, _ in tiny.SENTENCES] * 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two encoders and a text; `wide` reads rows of 128 word pieces."""
    folder = tmp_path_factory.mktemp("data")
    tiny.save_encoder(folder / "encoder")
    tiny.encoder(positions=128).save_pretrained(folder / "wide")
    tiny.tokenizer().save_pretrained(folder / "wide")
    (folder / "text.txt").write_text("\n".join(LINES) + "\n")
    return folder


def run(data: Path, output: Path, **options: object) -> list[str]:
    lines = list[str]()
    settings: dict[str, object] = {
        "tokens": 40 * 64, "length": 16, "rows_per_step": 4, "peak": 1e-2, "warmup": 4, "log": lines.append, **options,
    }  # fmt: skip
    pretrain(**{"encoder": str(data / "encoder"), "text": data / "text.txt", "output": output, **settings})  # type: ignore[arg-type]
    return lines


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_pre_training_lowers_the_loss_and_writes_an_encoder(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    curve = [json.loads(line) for line in (tmp_path / "out" / "loss.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == [20, 40]
    assert curve[1]["loss"] < 0.9 * curve[0]["loss"]
    assert AutoModel.from_pretrained(tmp_path / "out").config.hidden_size == 32
    assert run(data, tmp_path / "out") == [f"{tmp_path / 'out'} is already pre-trained"]


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "whole")
    for _ in range(3):  # within the warm-up, the level and the fall
        run(data, tmp_path / "parts", stop_after=12)
    run(data, tmp_path / "parts")
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_continues_with_a_larger_budget(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "whole", tokens=60 * 64)
    run(data, tmp_path / "grown")
    run(data, tmp_path / "grown", tokens=60 * 64, stop_after=1)
    lines = run(data, tmp_path / "grown", tokens=60 * 64)
    assert "from step 33" in lines[0]  # 32 steps before the rate fell, and one
    assert same(tmp_path / "whole", tmp_path / "grown")
    with pytest.raises(RecipeError, match="has seen more than this budget allows before the rate falls"):
        run(data, tmp_path / "grown", tokens=8 * 64)


def test_an_output_of_another_pre_training_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", stop_after=1)
    with pytest.raises(RecipeError, match=r"holds a training with peak 0\.01, but this one has 0\.02; choose another"):
        run(data, tmp_path / "out", peak=2e-2)


def test_the_rate_warms_up_stays_and_falls() -> None:
    rates = [learning_rate(step, steps=10, warmup=2, decay=0.4, peak=1.0) for step in range(10)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_text_is_packed_into_full_rows_whether_plain_or_compressed(data: Path, tmp_path: Path) -> None:
    with lzma.open(tmp_path / "text.txt.xz", "wt") as file:
        file.write((data / "text.txt").read_text())
    tokenizer = tiny.tokenizer()
    rows = [
        pack_text(text, tokenizer=tokenizer, length=16, folder=tmp_path)
        for text in (data / "text.txt", tmp_path / "text.txt.xz")
    ]
    assert rows[0].tolist() == rows[1].tolist()
    assert set(rows[0][:, 0]) == {2}
    assert set(rows[0][:, -1]) == {3}
    assert tokenizer.decode(rows[0][0, 1:9]) == "the patients had severe breast cancer . [SEP]"


def test_masks_fall_on_words_of_text_alone() -> None:
    tokenizer = tiny.tokenizer()
    continues = continuing_pieces(tokenizer)
    first, rest = tokenizer.convert_tokens_to_ids(["neoplasm", "##s"])
    rows = torch.tensor([2, *[first, rest] * 24, 3]).repeat(200, 1)
    inputs, labels = mask_words(
        rows, continues=continues, tokenizer=tokenizer, generator=torch.Generator().manual_seed(0)
    )
    chosen = labels != -100
    assert not chosen[:, [0, -1]].any()
    assert (chosen[:, 1:-1:2] == chosen[:, 2:-1:2]).all()  # a word is masked whole or not at all
    assert chosen.float().mean().item() == pytest.approx(0.2 * 48 / 50, abs=0.01)
    assert (inputs[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (inputs[~chosen] == rows[~chosen]).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.txt", b"fever", "short.txt: fewer than 126 word pieces, which is one row"),
        ("broken.xz", b"no xz at all", "broken.xz: not a whole text, plain or .xz, in UTF-8"),
        ("latin.txt", b"na\xefve", "latin.txt: not a whole text, plain or .xz, in UTF-8"),
        ("none.txt", None, "No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    arguments = ["--encoder", str(data / "wide"), "--text", str(tmp_path / name), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_another_text_of_as_many_pieces_is_another_pre_training(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", stop_after=1)
    (tmp_path / "text.txt").write_text("\n".join(reversed(LINES)) + "\n")
    with pytest.raises(RecipeError, match=r"holds a training with text_digest '\w{16}', but this one has '\w{16}'; "):
        run(data, tmp_path / "out", text=tmp_path / "text.txt")


def test_pieces_of_another_tokenizer_are_not_reused(data: Path, tmp_path: Path) -> None:
    other = tiny.tokenizer()
    other.add_tokens(["breast cancer"])
    for tokenizer, pieces in ((tiny.tokenizer(), ["severe", "breast"]), (other, ["severe", "breast cancer"])):
        rows = pack_text(data / "text.txt", tokenizer=tokenizer, length=16, folder=tmp_path)
        assert tokenizer.convert_ids_to_tokens(rows[0, 4:6].tolist()) == pieces


@pytest.mark.parametrize("decay", [0.0, 0.01])  # which is less than one step of forty
def test_a_run_without_decay_continues_too(data: Path, tmp_path: Path, decay: float) -> None:
    run(data, tmp_path / "out", decay=decay)
    lines = run(data, tmp_path / "out", decay=decay, tokens=48 * 64)
    assert "from step 40" in lines[0]
    with pytest.raises(RecipeError, match="has seen more than this budget allows before the rate falls"):
        run(data, tmp_path / "out", decay=decay, tokens=20 * 64)


def test_a_run_killed_before_its_rate_fell_cannot_get_a_smaller_budget(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", stop_after=30)
    with pytest.raises(RecipeError, match="has seen more than this budget allows before the rate falls"):
        run(data, tmp_path / "out", tokens=20 * 64)


def test_rows_are_no_longer_than_the_encoder_reads(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"length is 65, but encoder .*encoder reads at most 64 word pieces"):
        run(data, tmp_path / "out", length=65)


def test_a_model_with_heads_is_refused_as_encoder(data: Path, tmp_path: Path) -> None:
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "model")
    with pytest.raises(RecipeError, match=r"model: is a model with heads; name the encoder that it was trained from$"):
        run(data, tmp_path / "out", encoder=str(tmp_path / "model"))


def test_a_batch_without_a_masked_word_has_no_loss() -> None:
    model = MaskedLanguageModel(tiny.encoder())
    loss = model(torch.tensor([[2, 7, 8, 3]]), torch.full((1, 4), -100))
    loss.backward()
    assert loss.item() == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_an_encoder_in_half_precision_is_trained_in_full(data: Path, tmp_path: Path) -> None:
    tiny.encoder(hidden=32).half().save_pretrained(tmp_path / "half")
    tiny.tokenizer().save_pretrained(tmp_path / "half")
    settings = {"tokens": 64, "length": 16, "rows_per_step": 4, "log": lambda line: None}
    pretrain(encoder=str(tmp_path / "half"), text=data / "text.txt", output=tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert {value.dtype for value in weights(tmp_path / "out").values()} == {torch.float32}

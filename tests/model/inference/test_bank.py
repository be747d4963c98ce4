"""A bank is built whichever way its run ends, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.folder import save_model
from model.inference.bank import build_bank, each_tenth, main
from model.inference.cascade import load_cascade
from model.vocabulary import Vocabulary
from tests.model import tiny

DONE = [0, 21, 36, 43, 53, 65, 75, 78]  # word pieces of the tiny vocabulary, batch by batch


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that encodes names a few at a time."""
    monkeypatch.setattr("model.inference.bank.fastest_batch", lambda device: 12)
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def killed_after(pieces: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= pieces:
            raise KeyboardInterrupt

    return progress


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bank(model: Path) -> None:
    build_bank(model, tiny.vocabulary(), rank=8)
    whole = load_file(model / "bank.safetensors")
    (model / "bank.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        build_bank(model, tiny.vocabulary(), rank=8, progress=killed_after(40))
    [part] = model.glob("*.part")
    with part.open("r+b") as file:
        file.truncate(part.stat().st_size - 5)  # a batch that was half written
    told: list[int] = []
    build_bank(model, tiny.vocabulary(), rank=8, progress=lambda done, total: told.append(done))
    assert told == DONE[2:]  # the first were not encoded again
    assert_same(load_file(model / "bank.safetensors"), whole)
    assert not part.exists()


def test_the_first_run_over_a_vocabulary_that_was_killed_is_taken_up(model: Path, tmp_path: Path) -> None:
    mesh, banks = tiny.save_entities(tmp_path), tmp_path / "banks"
    with pytest.raises(KeyboardInterrupt):
        load_cascade(model, mesh=mesh, banks=banks, progress=killed_after(40))
    told: list[int] = []
    load_cascade(model, mesh=mesh, banks=banks, progress=lambda done, total: told.append(done))
    assert told == DONE[3:]
    load_cascade(model, mesh=mesh, banks=banks, progress=killed_after(0))  # which it does not call any more
    assert [path.suffix for path in banks.iterdir()] == [".safetensors"]


def test_what_was_encoded_of_other_names_is_not_taken(model: Path) -> None:
    fewer = Vocabulary(tiny.CONCEPTS[1:], version="tiny")
    build_bank(model, fewer, rank=8)
    whole = load_file(model / "bank.safetensors")
    with pytest.raises(KeyboardInterrupt):
        build_bank(model, tiny.vocabulary(), rank=8, progress=killed_after(40))
    build_bank(model, fewer, rank=8)
    assert_same(load_file(model / "bank.safetensors"), whole)


def test_the_command_tells_what_it_cannot_use(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([model, "--mesh", "none"], [tmp_path, "--mesh", tiny.save_entities(tmp_path)]):
        assert main([str(word) for word in words]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert told.count("\n") == 1


def test_every_tenth_is_told_with_the_minutes_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0])
    monkeypatch.setattr("model.inference.bank.monotonic", lambda: next(now))
    told: list[str] = []
    progress = each_tenth(told.append)
    for done in (4_000, 5_000, 5_001, 10_000):  # 4,000 of a run before
        progress(done, 10_000)
    assert told == [
        "4,000 of 10,000 word pieces",
        "5,000 of 10,000 word pieces, 5 min left",
        "10,000 of 10,000 word pieces",
    ]


def test_progress_is_in_word_pieces_from_the_start_of_the_first_batch(model: Path) -> None:
    """Names come longest first: by names, the time left was three times too long."""
    told: list[tuple[int, int]] = []
    build_bank(model, tiny.vocabulary(), rank=8, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 78) for done in DONE]

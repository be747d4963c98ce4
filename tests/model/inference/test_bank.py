"""A bank is built even if its run is killed, and reports its progress."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from e2emern.model.inference.bank import EntityBank, build_bank, main, make_bank
from e2emern.model.inference.cascade import load_cascade
from e2emern.model.pretrained import load_model, save_model
from e2emern.model.progress import Progress
from e2emern.model.version import encoder_digest
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny

DONE = [0, 21, 36, 43, 53, 65, 75, 78]  # word pieces of the tiny vocabulary, batch by batch


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that encodes names a few at a time."""
    monkeypatch.setattr("e2emern.model.inference.bank.fastest_batch", lambda device: 12)
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def killed_after(pieces: int) -> Progress:
    def progress(what: str, done: int, total: int | None) -> None:
        if done >= pieces:
            raise KeyboardInterrupt

    return progress


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_killed_run_is_resumed_and_gives_the_same_bank(model: Path) -> None:
    build_bank(model, tiny.vocabulary(), rank=8)
    whole = load_file(model / "bank.safetensors")
    (model / "bank.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        build_bank(model, tiny.vocabulary(), rank=8, progress=killed_after(40))
    [part] = model.glob("*.part")
    with part.open("r+b") as file:
        file.truncate(part.stat().st_size - 5)  # a batch that was half written
    done_by_run: list[int] = []
    build_bank(model, tiny.vocabulary(), rank=8, progress=lambda what, done, total: done_by_run.append(done))
    assert done_by_run == DONE[2:]  # the first were not encoded again
    assert_same(load_file(model / "bank.safetensors"), whole)
    assert not part.exists()


def test_a_killed_first_run_over_a_vocabulary_is_resumed(model: Path, tmp_path: Path) -> None:
    mesh, banks = tiny.save_entities(tmp_path), tmp_path / "banks"
    with pytest.raises(KeyboardInterrupt):
        load_cascade(model, mesh=mesh, banks=banks, progress=killed_after(40))
    done_by_run: list[int] = []
    load_cascade(model, mesh=mesh, banks=banks, progress=lambda what, done, total: done_by_run.append(done))
    assert done_by_run == DONE[3:]
    load_cascade(model, mesh=mesh, banks=banks, progress=killed_after(0))  # it is not called any more
    assert [path.suffix for path in banks.iterdir()] == [".safetensors"]


def test_a_truncated_bank_is_built_again(model: Path, tmp_path: Path) -> None:
    """Cause: it stopped every run."""
    mesh, banks = tiny.save_entities(tmp_path), tmp_path / "banks"
    load_cascade(model, mesh=mesh, banks=banks)
    [bank] = banks.iterdir()
    whole = {name: tensor.clone() for name, tensor in load_file(bank).items()}  # of a mapped file
    bank.write_bytes(bank.read_bytes()[: bank.stat().st_size // 2])
    load_cascade(model, mesh=mesh, banks=banks)
    assert_same(load_file(bank), whole)


def test_every_flipped_bit_in_a_bank_is_found_and_the_bank_built_again(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mesh, banks = tiny.save_entities(tmp_path), tmp_path / "banks"
    load_cascade(model, mesh=mesh, banks=banks)
    [bank] = banks.iterdir()
    encoder, whole = encoder_digest(model), bank.read_bytes()
    for at in range(0, len(whole), 97):  # in the header and in all tensors
        for bit in (0, 6):
            bank.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            assert EntityBank.load(bank, encoder=encoder, vocabulary=Vocabulary.read(mesh)) is None
    load_cascade(model, mesh=mesh, banks=banks)
    assert f"{bank} is damaged (its SHA-256 differs); the bank is built again" in caplog.messages
    assert bank.read_bytes() == whole


def test_vectors_of_other_names_are_not_reused(model: Path) -> None:
    fewer = Vocabulary(tiny.CONCEPTS[1:], version="tiny")
    build_bank(model, fewer, rank=8)
    whole = load_file(model / "bank.safetensors")
    with pytest.raises(KeyboardInterrupt):
        build_bank(model, tiny.vocabulary(), rank=8, progress=killed_after(40))
    build_bank(model, fewer, rank=8)
    assert_same(load_file(model / "bank.safetensors"), whole)


def test_the_command_reports_what_it_cannot_use(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([model, "--mesh", "none"], [tmp_path, "--mesh", tiny.save_entities(tmp_path)]):
        assert main([str(word) for word in words]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        assert printed.count("\n") == 1


def test_progress_is_in_word_pieces_from_the_start_of_the_first_batch(model: Path) -> None:
    """Cause: names are ordered longest first, so counted by names, the time left was three times too long."""
    steps: list[tuple[str, int, int | None]] = []
    build_bank(model, tiny.vocabulary(), rank=8, progress=lambda *step: steps.append(step))
    assert steps == [("word pieces", done, 78) for done in DONE]


def test_a_bank_that_was_read_scores_as_the_bank_that_was_built(model: Path, tmp_path: Path) -> None:
    vocabulary, generator = tiny.vocabulary(), torch.Generator().manual_seed(1)
    network, tokenizer, _ = load_model(model, device="cpu")
    built = make_bank(tmp_path / "bank", network, vocabulary, tokenizer=tokenizer, encoder="w", rank=7)
    read = EntityBank.load(tmp_path / "bank", encoder="w", vocabulary=vocabulary)
    assert read is not None
    # Kernels round differently at other alignments. A file places tensors anywhere, memory at multiples of 64 bytes.
    assert {getattr(read, name).data_ptr() % 64 for name in ("codes", "scale", "basis", "mean")} == {0}
    concepts = np.arange(len(vocabulary.concepts))
    for _ in range(20):
        context, name = torch.randn(2, network.encoder.config.hidden_size, generator=generator)
        for one, other in zip(
            built.compare(concepts, 0 * concepts, contexts=context[None], names=name[None]),
            read.compare(concepts, 0 * concepts, contexts=context[None], names=name[None]),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)

"""Fitted values are stored in the model folder; nothing is stored if there is nothing to fit on."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from e2emern.model.evaluation.evaluate import main as evaluate
from e2emern.model.inference.cascade import load_cascade
from e2emern.model.pretrained import keep_fitted, save_model
from e2emern.model.training.calibrate import count_concepts, main, read_fitted, tune_folder
from e2emern.model.training.validation import main as validate
from experiments.linker_ablation import main as ablation
from tests.model import tiny


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    tiny.save_training(folder)
    save_model(tiny.learn(tiny.network(hidden=32, candidate_weight=0.3), tiny.vocabulary()), tiny.tokenizer(), folder)
    return folder


def test_fitted_values_are_part_of_the_model(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_fitted(learned) is None
    before = json.loads((learned / "config.json").read_text())
    command = [
        str(learned),
        "--corpus",
        str(learned / "corpus.parquet"),
        "--mesh",
        str(learned / "entities/tiny.parquet"),
    ]
    assert main([*command, "--splits", "tiny/dev", "--seen", "tiny/train"]) == 0
    printed = json.loads(capsys.readouterr().out)
    fitted = read_fitted(learned)
    assert fitted is not None
    assert printed["span_threshold"] == fitted["span_threshold"]
    assert fitted["resolver"]["prior"] == count_concepts(tiny.gold() * 3, vocabulary=tiny.vocabulary())
    resolver = dict(fitted["resolver"])
    assert json.loads((learned / "training_strings.json").read_text()) == resolver.pop("strings")
    after = {"span_threshold": fitted["span_threshold"], "resolver": resolver}
    assert json.loads((learned / "config.json").read_text()) == before | after


def test_the_strings_are_a_part_of_the_version_and_their_absence_is_reported(learned: Path, tmp_path: Path) -> None:
    model, mesh = shutil.copytree(learned, tmp_path / "model"), learned / "entities/tiny.parquet"
    tune_folder(model, mesh=mesh, documents=tiny.gold(), seen=tiny.gold())
    strings = model / "training_strings.json"
    cascade = load_cascade(model, mesh=mesh, banks=model)
    assert cascade.resolver.strings.concepts("Breast cancer", entity_type="Disease") == {"D001": 1}
    strings.write_text(strings.read_text().replace('"D001": 1', '"D001": 2'))
    assert load_cascade(model, mesh=mesh, banks=model).model_version != cascade.model_version
    strings.unlink()
    for read in (read_fitted, partial(load_cascade, mesh=mesh, banks=model)):
        with pytest.raises(ValueError, match=r"the model has no training_strings\.json, which its resolver uses"):
            read(model)


def test_a_resolver_of_other_evidence_is_refused_until_fitted_again(learned: Path, tmp_path: Path) -> None:
    model, mesh = shutil.copytree(learned, tmp_path / "model"), learned / "entities/tiny.parquet"
    keep_fitted(model, {"resolver": {"weights": {"magic": 1.0}}})
    for read in (read_fitted, partial(load_cascade, mesh=mesh, banks=model)):
        with pytest.raises(ValueError, match="the resolver was fitted for other features than this version has"):
            read(model)
    tune_folder(model, mesh=mesh, documents=tiny.gold(), seen=tiny.gold())
    assert read_fitted(model) is not None


def test_a_model_that_finds_nothing_is_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.save_training(tmp_path)
    network = tiny.network()
    with torch.no_grad():
        network.low_head.weight.zero_()
        network.low_head.bias.copy_(torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0]))  # O everywhere
    save_model(network, tiny.tokenizer(), tmp_path)
    before, mesh = (tmp_path / "config.json").read_bytes(), tmp_path / "entities/tiny.parquet"
    assert tune_folder(tmp_path, mesh=mesh, documents=tiny.gold(), seen=tiny.gold()) == ({}, {})
    command = [str(tmp_path), "--corpus", str(tmp_path / "corpus.parquet"), "--mesh", str(mesh)]
    assert main([*command, "--splits", "tiny/dev", "--seen", "tiny/train"]) == 1
    assert capsys.readouterr().err.endswith("error: no span was found in tiny/dev: there is nothing to fit on\n")
    assert (tmp_path / "config.json").read_bytes() == before


def test_what_cannot_be_used_is_one_line(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Cause: all commands that test a model on gold documents ended with a traceback.
    corpus, mesh = learned / "corpus.parquet", learned / "entities/tiny.parquet"
    command = [str(learned), "--corpus", str(corpus), "--mesh", str(mesh), "--splits", "tiny/test"]
    for run in (main, evaluate, ablation):
        assert run(command) == 1
        printed = capsys.readouterr().err.splitlines()[-1]
        assert printed == f"error: {corpus}: no split tiny/test; it holds tiny/dev, tiny/train"


def test_the_tags_alone_are_scored_by_split_and_type(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate([str(learned), "--corpus", str(learned / "corpus.parquet"), "--splits", "tiny/dev"]) == 0
    assert capsys.readouterr().out == (
        "tiny/dev Disease precision 100.0 recall 100.0 f1 100.0\n"
        "tiny/dev Chemical precision 100.0 recall 100.0 f1 100.0\n"
    )


def test_a_folder_as_output_is_refused_before_the_work(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(["none", "--corpus", "none", "--mesh", "none", "--output", str(learned)])
    assert capsys.readouterr().err.endswith(f"--output {learned}: is a folder, expected a file to write to\n")

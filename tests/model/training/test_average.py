from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from e2emern.model.network import E2emernModel
from e2emern.model.pretrained import load_model, save_model
from e2emern.model.training.average import average
from e2emern.model.training.recipe import RecipeError
from e2emern.model.version import model_version
from tests.model import tiny


def changed(by: float) -> E2emernModel:
    model = tiny.network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)
    return model


def save(folder: Path, model: E2emernModel) -> Path:
    model.config.resolver, model.config.span_threshold = {"weights": {}}, 0.9
    save_model(model, tiny.tokenizer(), folder)
    return folder


def test_every_weight_is_the_mean(tmp_path: Path) -> None:
    folders = [save(tmp_path / str(by), changed(by)) for by in (0.0, 0.25, 0.5)]
    average(folders, tmp_path / "deep" / "mean")
    found, _, _ = load_model(tmp_path / "deep" / "mean", device="cpu", dtype=torch.float32)
    wanted = dict(changed(0.25).named_parameters())
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter, wanted[name], atol=2e-3, rtol=0)
    assert found.config.resolver is None  # what was fitted to another model's scores
    assert found.config.span_threshold == 0.5


def test_a_mean_with_shares(tmp_path: Path) -> None:
    folders = [save(tmp_path / str(by), changed(by)) for by in (0.0, 0.5, 0.25)]
    average(folders, tmp_path / "mean", shares=[1, 0.5, -0.5])
    found, _, _ = load_model(tmp_path / "mean", device="cpu", dtype=torch.float32)
    wanted = dict(changed(0.125).named_parameters())
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter, wanted[name], atol=2e-3, rtol=0)
    assert json.loads((tmp_path / "mean/average.json").read_text())["shares"] == [1, 0.5, -0.5]


def test_a_mean_with_the_resolver_of_another_model(tmp_path: Path) -> None:
    one = save(tmp_path / "one", tiny.network())
    fitted = {"span_threshold": 0.9, "resolver": {"weights": {}, "strings": {"meant": {}, "occurrences": {}}}}
    average([one], tmp_path / "mean", fitted=fitted)
    kept = json.loads((tmp_path / "mean/config.json").read_text())
    assert (kept["span_threshold"], kept["resolver"]) == (0.9, {"weights": {}})
    assert json.loads((tmp_path / "mean/training_strings.json").read_text()) == fitted["resolver"]["strings"]


@pytest.mark.parametrize(
    ("shares", "message"),
    [([1.0], "1 share with a sum of 1, expected one for each of 2 models"), ([0.5, 0.6], "2 shares with a sum of 1.1")],
)
def test_invalid_shares_are_refused(tmp_path: Path, shares: list[float], message: str) -> None:
    folders = [save(tmp_path / str(by), changed(by)) for by in (0.0, 0.5)]
    with pytest.raises(RecipeError, match=message):
        average(folders, tmp_path / "mean", shares=shares)


def test_a_model_alone_is_its_own_mean(tmp_path: Path) -> None:
    average([save(tmp_path / "one", tiny.network())], tmp_path / "mean")
    assert (tmp_path / "mean/model.safetensors").read_bytes() == (tmp_path / "one/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_mid": False}, "its levels and shapes are not those of"),
        ({"hidden": 32}, "its levels and shapes are not those of"),
        ({"entity_types": ("Chemical", "Disease")}, "its tags are not those of"),
        ({"tag_scheme": "BIOES"}, "its levels and shapes are not those of"),
    ],
)
def test_models_of_different_kinds_cannot_be_averaged(tmp_path: Path, options: dict[str, object], message: str) -> None:
    one, other = save(tmp_path / "one", tiny.network()), save(tmp_path / "other", tiny.network(**options))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=f"{other}: {message} {one}"):
        average([one, other], tmp_path / "mean")


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere: no config\.json"):
        average([tmp_path / "nowhere"], tmp_path / "mean")


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    one, other = save(tmp_path / "one", tiny.network()), save(tmp_path / "other", tiny.network())
    with pytest.raises(RecipeError, match="one: is one of the models to average; choose another --output"):
        average([one, other], tmp_path / "other" / ".." / "one")
    for folder in (other, tiny.save_encoder(tmp_path / "encoder")):
        before = (folder / "model.safetensors").read_bytes()
        with pytest.raises(RecipeError, match=f"{folder} holds a model that was not made by this command; choose"):
            average([one], folder)
        assert (folder / "model.safetensors").read_bytes() == before


def test_a_mean_may_be_made_again(tmp_path: Path) -> None:
    one, other = save(tmp_path / "one", tiny.network()), save(tmp_path / "other", changed(0.5))
    average([other], tmp_path / "mean")
    average([one, other], tmp_path / "mean")
    assert json.loads((tmp_path / "mean/average.json").read_text()) == {
        "models": [model_version(one), model_version(other)]
    }


def test_a_model_named_twice_is_refused(tmp_path: Path) -> None:
    one = save(tmp_path / "one", tiny.network())
    with pytest.raises(RecipeError, match=r"found models (\w{12}), \1, expected each once"):
        average([one, one], tmp_path / "mean")

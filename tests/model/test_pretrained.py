"""A model folder is complete, or it is refused in one line that names it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from e2emern.model.network import E2emernModel
from e2emern.model.pretrained import load_model, save_model
from tests.model import tiny


def save(folder: Path, *, without: str = "", added: str = "") -> Path:
    """Return a model folder whose weights lack one, or have one more."""
    save_model(tiny.network(), tiny.tokenizer(), folder)
    weights = load_file(folder / "model.safetensors")
    if without:
        del weights[without]
    if added:
        weights[added] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_every_user_may_read_a_saved_model(tmp_path: Path) -> None:
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "model")
    (tmp_path / "other").touch()
    modes = {file.stat().st_mode for file in (tmp_path / "model").iterdir()}
    assert modes == {(tmp_path / "other").stat().st_mode}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": "low_head.weight"}, "its weights lack low_head.weight; they are not those of its configuration"),
        ({"added": "old_head.bias"}, "its weights have the unexpected old_head.bias; they are not those of its"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    folder = save(tmp_path / "model", **options)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{folder}: not an e2emern model: {message}')}"):
        load_model(folder, device="cpu")
    with pytest.raises(ValueError, match=f"^{re.escape(f'{folder}: {message}')}"):
        E2emernModel.on_encoder(str(folder))


@pytest.mark.parametrize("content", ["garbage", "[]"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: str) -> None:
    folder = save(tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))}: not an e2emern model: ."):
        load_model(folder, device="cpu")


def test_a_configuration_of_something_unknown_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention": "additive"}))
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))}: not an e2emern model: attention is 'additive'"):
        load_model(folder, device="cpu")

"""The mean of the weights of several models (model soups, Wortsman et al. 2022).

Models that were trained from one encoder by one recipe, with different seeds, lie near enough for their mean to be a
model too. It finds more than they do and errs more often; a further training goes on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..folder import load_model, save_model
from ..network import E2emernConfig
from ..pieces import pieces_digest
from .recipe import RecipeError


def average(folders: Sequence[Path], output: Path) -> None:
    """Writes the model whose every weight is the mean of the models' weights; its resolver is not fitted.

    Raises:
        RecipeError: a folder holds no model of ours, models are of different shapes, tags or word pieces, or `output`
            is one of them or holds a training.
    """
    if output.resolve() in [folder.resolve() for folder in folders]:
        raise RecipeError(f"{output}: is one of the models to average; choose another --output")
    if (output / "recipe.json").exists():
        raise RecipeError(f"{output} holds a training; choose another --output, or delete it")
    try:
        loaded = [load_model(folder, device="cpu", dtype=torch.float32) for folder in folders]
    except ValueError as error:
        raise RecipeError(str(error)) from error
    (first, tokenizer, _), *_ = loaded
    weights = [model.state_dict() for model, _, _ in loaded]
    shapes = [{key: value.shape for key, value in each.items()} for each in weights]
    for folder, (model, its, _), shape in zip(folders, loaded, shapes, strict=True):
        for what, one, other in (
            ("levels and shapes", shape, shapes[0]),
            ("tags", model.config.tags, first.config.tags),
            ("word pieces", pieces_digest(its), pieces_digest(tokenizer)),
        ):
            if one != other:
                raise RecipeError(f"{folder}: its {what} are not those of {folders[0]}")
    mean = {
        key: torch.stack([each[key] for each in weights]).mean(0) if value.is_floating_point() else value
        for key, value in weights[0].items()
    }
    first.load_state_dict(mean)
    first.config.resolver, first.config.span_threshold = None, E2emernConfig().span_threshold
    output.mkdir(parents=True, exist_ok=True)
    save_model(first, tokenizer, output)

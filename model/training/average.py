"""The mean of the weights of several models (model soups, Wortsman et al. 2022).

Models trained from one encoder by one recipe, with different seeds, are so similar that their mean is a working model.
It finds more mentions than they do, and makes more errors; further training starts from it. Negative shares transfer
what one model learned to another: model + (further - before) (task arithmetic, Ilharco et al. 2023).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from e2emern.model.cli import plural
from e2emern.model.errors import FileError
from e2emern.model.files import write_text
from e2emern.model.network import E2emernConfig
from e2emern.model.pretrained import keep_fitted, load_model, save_model
from e2emern.model.seen import read_seen, union, write_seen
from e2emern.model.tokenization import pieces_digest
from e2emern.model.training.recipe import RecipeError

MADE_OF = "average.json"
SHARES_DIFFER = 1e-6  # at most, from a sum of 1


def average(
    folders: Sequence[Path], output: Path, *, shares: Sequence[float] = (), fitted: Mapping[str, Any] | None = None
) -> None:
    """Write the model whose every weight is the mean of the models' weights.

    `average.json` names the models, and `seen.json` all documents that they have seen (`model.seen`). Both are written
    first: a model in a folder without that file is never overwritten.

    Args:
        shares: one per model, with a sum of 1; equal by default.
        fitted: values that were fitted to a similar model (`read_fitted`), for the resolver; None: it is not fitted.

    Raises:
        RecipeError: a folder is not an e2emern model, models differ in shapes, tags or word pieces, one is named twice,
            `output` is one of them or holds a model that is not a mean, or the shares are not one per model with a sum
            of 1.
    """
    if shares and (len(shares) != len(folders) or abs(sum(shares) - 1) > SHARES_DIFFER):
        found = f"{plural(len(shares), 'share')} with a sum of {sum(shares):g}"
        raise RecipeError(f"found {found}, expected one for each of {plural(len(folders), 'model')} with a sum of 1")
    if output.resolve() in [folder.resolve() for folder in folders]:
        raise RecipeError(f"{output}: is one of the models to average; choose another --output")
    if (output / "config.json").exists() and not (output / MADE_OF).exists():
        raise RecipeError(f"{output} holds a model that was not made by this command; choose another --output")
    try:
        loaded = [load_model(folder, device="cpu", dtype=torch.float32) for folder in folders]
        seen = union(map(read_seen, folders))
    except FileError as error:
        raise RecipeError(str(error)) from error
    (first, tokenizer, _), *_ = loaded
    versions = [version for _, _, version in loaded]
    if len(set(versions)) < len(versions):
        raise RecipeError(f"found models {', '.join(versions)}, expected each once")
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
    parts = torch.tensor(shares or [1 / len(weights)] * len(weights))
    mean = {
        key: torch.tensordot(parts, torch.stack([each[key] for each in weights]), 1)
        if value.is_floating_point()
        else value
        for key, value in weights[0].items()
    }
    first.load_state_dict(mean)
    first.config.resolver, first.config.span_threshold = None, E2emernConfig().span_threshold
    write_text(output / MADE_OF, json.dumps({"models": versions} | ({"shares": list(shares)} if shares else {})) + "\n")
    write_seen(output, seen)
    save_model(first, tokenizer, output)
    if fitted:
        keep_fitted(output, fitted)

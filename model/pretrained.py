"""A model on disk: a transformers folder with safetensors weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from e2emern.model.errors import FileError, first_line
from e2emern.model.files import share, write_text
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_dtype
from e2emern.model.version import STRINGS, check_files, model_version


def save_model(model: E2emernModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a transformers folder with fp16 safetensors weights."""
    state = {name: value.detach().to("cpu", torch.float16) for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        share(weights)


def load_model(
    folder: Path, *, device: str, dtype: torch.dtype | None = None
) -> tuple[E2emernModel, PreTrainedTokenizerBase, str]:
    """Load a model (safetensors only), its tokenizer and its version (`version.model_version`).

    Args:
        dtype: of the weights; by default the fastest of the device.

    Raises:
        FileError: the folder lacks a file of a model, a file is damaged, or the weights do not match the
            configuration.
    """
    check_files(folder)
    dtype = dtype or fastest_dtype(device)
    try:
        model = E2emernModel.load(folder, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model.config.resolver = _with_strings(model.config.resolver, folder)
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        reason = error.reason if isinstance(error, FileError) else first_line(error)
        raise FileError(f"not an e2emern model: {reason}", folder) from error
    nn.Module.to(model, device, dtype)
    return model.eval(), tokenizer, model_version(folder)


def stored_fitted(folder: Path) -> dict[str, Any] | None:
    """Return the fitted values of a model folder, `span_threshold` and `resolver`; None if nothing was fitted."""
    config = json.loads((folder / "config.json").read_bytes())
    if not config.get("resolver"):
        return None
    return {"span_threshold": config["span_threshold"], "resolver": _with_strings(config["resolver"], folder)}


def keep_fitted(folder: Path, fitted: Mapping[str, Any]) -> None:
    """Write fitted values to a model folder, which changes its version; the strings have their own file."""
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) | dict(fitted)
    if resolver := config.get("resolver"):
        config["resolver"] = {key: value for key, value in resolver.items() if key != "strings"}
        if "strings" in resolver:
            write_text(folder / STRINGS, json.dumps(resolver["strings"], indent=0, sort_keys=True) + "\n")
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _with_strings(resolver: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """Return a stored resolver with its training strings."""
    if not resolver or not (folder / STRINGS).exists():
        return dict(resolver) if resolver else None
    return {**resolver, "strings": json.loads((folder / STRINGS).read_bytes())}

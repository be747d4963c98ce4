"""A model on disk: a transformers folder with safetensors weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from e2emern.model.errors import FileError, first_line
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_dtype
from e2emern.model.version import check_files, model_version


def save_model(model: E2emernModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a transformers folder with fp16 safetensors weights."""
    state = {name: value.detach().to("cpu", torch.float16) for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


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
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        reason = error.reason if isinstance(error, FileError) else first_line(error)
        raise FileError(f"not an e2emern model: {reason}", folder) from error
    nn.Module.to(model, device, dtype)
    return model.eval(), tokenizer, model_version(folder)

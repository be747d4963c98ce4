"""The files of a model, and its version, which is computed from them without loading it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from e2emern.model.errors import FileError

FILES = ("config.json", "model.safetensors", "tokenizer.json")
STRINGS = "training_strings.json"
"""The counts of training strings that the resolver uses; a model without a fitted resolver has none."""


def check_files(folder: Path) -> None:
    """Check that a folder has all files of a model. Raises FileError."""
    for name in FILES:
        if not (folder / name).is_file():
            raise FileError(f"no {name}; expected a model folder", folder)


def model_version(folder: Path) -> str:
    """Return the first 12 hex digits of a SHA-256 over the configuration and the weights.

    The configuration includes the resolver, and so the training strings.
    """
    strings = (folder / STRINGS).read_bytes() if (folder / STRINGS).exists() else b""
    content = (folder / "config.json").read_bytes() + strings + weights_digest(folder).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def weights_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of the weights, which identify an entity bank."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]

"""The files of a model, and its version, which is computed from them without loading it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from e2emern.model.errors import FileError

FILES = ("config.json", "model.safetensors", "tokenizer.json")
"""The files that every model has."""

STRINGS = "training_strings.json"
"""The counts of training strings that the resolver uses; a model without a fitted resolver has none."""

OPTIONAL_FILES = ("bank.safetensors", "special_tokens_map.json", "tokenizer_config.json", STRINGS)
"""Optional files that change what a model finds."""


def check_files(folder: Path) -> None:
    """Check that a folder has all files of a model. Raises FileError."""
    for name in FILES:
        if not (folder / name).is_file():
            raise FileError(f"no {name}; expected a model folder", folder)


def model_version(folder: Path) -> str:
    """Return the first 12 hex digits of a SHA-256 over the names and the content of all files of a model."""
    return _digest(folder, sorted([*FILES, *OPTIONAL_FILES]))


def weights_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of the weights, which identify the beginning of a training."""
    return _sha256(folder / "model.safetensors")[:12]


def encoder_digest(folder: Path) -> str:
    """Return the first 12 hex digits of a SHA-256 over the files that encode names, which identifies an entity bank.

    The configuration is left out: it holds the resolver, which is fitted after the bank was built.
    """
    return _digest(folder, ["model.safetensors", "tokenizer.json"])


def _digest(folder: Path, names: Sequence[str]) -> str:
    digests = [f"{name} {_sha256(folder / name)}\n" for name in names if (folder / name).is_file()]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

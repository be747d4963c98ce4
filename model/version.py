"""The version of a model, computed from its files without loading it."""

from __future__ import annotations

import hashlib
from pathlib import Path


def model_version(folder: Path) -> str:
    """Return the first 12 hex digits of a SHA-256 over the configuration (which holds the resolver) and the weights."""
    return hashlib.sha256((folder / "config.json").read_bytes() + weights_digest(folder).encode()).hexdigest()[:12]


def weights_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of the weights, which identify an entity bank."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]

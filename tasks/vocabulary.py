"""Read the vocabulary that a user names."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from model.vocabulary import Vocabulary
from tasks.errors import InputError


def read_vocabulary(mesh: Path) -> Vocabulary:
    """Return the concepts of an entities table. Raises InputError if the file is not a valid table."""
    try:
        return Vocabulary.read(mesh)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).removeprefix(f"{mesh}: ").splitlines()[0]
        raise InputError(f"{mesh}: cannot be read as an entities table ({reason})") from error

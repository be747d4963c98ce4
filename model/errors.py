"""The error of files that the model reads; `model.training.recipe` has those of a training."""

from __future__ import annotations

from pathlib import Path


class FileError(ValueError):
    """A file or folder cannot be used; the message is `path: reason`.

    Attributes:
        reason: what is wrong, in one line.
        path: of the file or folder.
    """

    def __init__(self, reason: str, path: Path) -> None:
        super().__init__(reason, path)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def first_line(error: BaseException) -> str:
    """Return the first line of the message of a library's error; the name of its type if it has no message."""
    return (str(error) or type(error).__name__).splitlines()[0]

"""The version of a model is that of all its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.model.errors import FileError
from e2emern.model.version import FILES, OPTIONAL_FILES, check_files, encoder_digest, model_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_version_is_a_literal_of_names_and_contents(folder: Path) -> None:
    assert model_version(folder) == "8cad75c50599"
    (folder / "README.md").write_text("not a part of the model")
    assert model_version(folder) == "8cad75c50599"
    (folder / "bank.safetensors").write_bytes(b"")
    assert model_version(folder) == "326b422cfaca"


@pytest.mark.parametrize("name", [*FILES, *OPTIONAL_FILES])
def test_every_file_counts(folder: Path, name: str) -> None:
    (folder / name).write_text("one")
    before, encoder = model_version(folder), encoder_digest(folder)
    (folder / name).write_text("onf")  # one bit
    assert model_version(folder) != before
    assert (encoder_digest(folder) != encoder) == (name in ("model.safetensors", "tokenizer.json"))


def test_a_model_without_a_file_is_refused(folder: Path) -> None:
    check_files(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileError, match=r"no tokenizer\.json; expected a model folder"):
        check_files(folder)

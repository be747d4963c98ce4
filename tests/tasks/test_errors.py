"""Errors of input: the path and the reason are fields, and the message joins them."""

import pickle
from pathlib import Path

import pytest

from e2emern.tasks.errors import InputError, ProblemsError, SourceError
from e2emern.tasks.parsers import detect_format


def test_a_message_joins_path_and_reason() -> None:
    error = SourceError("the file is empty", path=Path("a/b.xml"))
    assert (str(error), error.reason, error.path) == (
        "a/b.xml: the file is empty",
        "the file is empty",
        Path("a/b.xml"),
    )
    assert str(InputError("no such model")) == "no such model"
    in_line = SourceError("found a tab", path="a.txt", where="line 3")
    assert (str(in_line), in_line.in_file) == ("a.txt: line 3: found a tab", "line 3: found a tab")
    assert str(ProblemsError(["first\n one", "second"])) == "first one\nsecond"
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(copy), copy.path) == (str(error), error.path)


def test_a_source_names_itself_once(tmp_path: Path) -> None:
    path = tmp_path / "empty.xml"
    path.touch()
    with pytest.raises(SourceError) as raised:
        detect_format(path)
    assert raised.value.path == path
    assert str(raised.value) == f"{path}: {raised.value.reason}"
    assert str(path) not in raised.value.reason

"""The log of a run has the message, and a traceback only for bugs of the project."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from e2emern.flows import nightly  # as a worker does
from e2emern.tasks.errors import InputError, ProblemsError


@pytest.fixture(params=["prefect.flow_runs", "prefect.task_runs", "prefect.engine"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[logging.Logger, io.StringIO]:
    """A logger of Prefect, and its output; Prefect's own handlers need a run."""
    logger, stream = logging.getLogger(request.param), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(logger, "propagate", False)
    return logger, stream


def test_expected_errors_are_logged_as_their_lines(logged: tuple[logging.Logger, io.StringIO]) -> None:
    assert nightly.nightly.name == "nightly"
    logger, stream = logged
    noted = InputError("no such model folder", path=Path("/models/new"))
    noted.add_note("2 sources are not published")
    for error, expected in (
        (noted, "/models/new: no such model folder\n2 sources are not published\n"),
        (ProblemsError(["a.xml: damaged", "b.xml: damaged"]), "a.xml: damaged\nb.xml: damaged\n"),
        (OSError(28, "No space left on device", "/data"), "[Errno 28] No space left on device: '/data'\n"),
    ):
        stream.seek(0)
        stream.truncate()
        try:
            raise error
        except Exception as raised:
            logger.exception("Encountered exception during execution: %r", raised)
        assert stream.getvalue() == expected
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as raised:
        logger.exception("Encountered exception during execution: %r", raised)
    assert "Traceback" in stream.getvalue()

"""The progress that a command shows, with a fake clock."""

from __future__ import annotations

import io
from collections.abc import Iterable

from e2emern.flows.cli.progress import TerminalProgress
from e2emern.flows.cli.terminal import VisibleConsole


def _shown(steps: Iterable[tuple[float, str, int, int | None]], *, terminal: bool = False) -> str:
    """Return the output for steps: the second, what is in progress, the steps done and the total."""
    now, out = [0.0], io.StringIO()
    console = VisibleConsole(
        file=out, width=100, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    with TerminalProgress(console, every=10, clock=lambda: now[0]) as progress:
        for second, what, done, total in steps:
            now[0] = second
            progress(what, done, total)
    return out.getvalue()


def test_without_a_terminal_a_line_is_printed_from_time_to_time() -> None:
    steps = [(second, "documents", done, 2000) for second, done in ((0, 0), (4, 100), (10, 200), (19, 800), (20, 1000))]
    assert _shown(steps) == (
        "200 of 2,000 documents, 20.0/s, 1 min 30 s left\n1,000 of 2,000 documents, 50.0/s, 20.0 s left\n"
    )


def test_steps_of_an_earlier_run_do_not_count_for_the_rate() -> None:
    steps = [(0, "word pieces", 500, 1000), (10, "word pieces", 600, 1000)]
    assert _shown(steps) == "600 of 1,000 word pieces, 10.0/s, 40.0 s left\n"


def test_without_a_total_there_is_no_time_left() -> None:
    assert _shown([(0, "files", 0, None), (10, "files", 5, None)]) == "5 files, 0.5/s\n"


def test_each_stage_and_each_model_has_its_own_rate() -> None:
    steps = [
        (0, "word pieces", 0, 1000), (10, "word pieces", 1000, 1000),
        (20, "documents", 0, 80), (30, "documents", 40, 80),
        (40, "documents", 0, 80), (60, "documents", 20, 80),
    ]  # fmt: skip
    assert _shown(steps).splitlines() == [
        "1,000 of 1,000 word pieces, 100/s, 0.0 s left",
        "40 of 80 documents, 4.0/s, 10.0 s left",
        "20 of 80 documents, 1.0/s, 1 min 0 s left",
    ]


def test_a_terminal_shows_a_bar_for_each_stage() -> None:
    shown = _shown([(0, "files", 0, None), (5, "documents", 0, 50), (15, "documents", 25, 50)], terminal=True)
    assert "0 files, 0.0/s" in shown
    assert "25 of 50 documents, 2.5/s, 10.0 s left" in shown

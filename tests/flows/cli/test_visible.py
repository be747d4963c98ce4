"""No foreign text controls the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli.application import say
from flows.cli.visible import show_text, visible

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert not [each for each in shown if unicodedata.category(each) == "Cc" and each not in "\n\t"]
    assert not [each for each in shown if unicodedata.bidirectional(each) in BIDIRECTIONAL]
    assert visible(shown) == shown


def test_messages_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_text("A\ttitle\x1b[2J\x9b1m\u202etxt\r\n")
    say("file\x1b]0;name\x07.xml: damaged")
    printed = capsys.readouterr()
    assert printed.out == "A\ttitle�[2J�1m�txt�\n\n"
    assert printed.err == "e2emern: file�]0;name�.xml: damaged\n"

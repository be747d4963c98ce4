from __future__ import annotations

from pathlib import Path

import pytest

from experiments.craft import is_held_out, main

PARAGRAPHS = """14691534.1|t|Pten dose in cancer
14691534.1|a|

11319941.1|t|Complex traits
11319941.1|a|

11319941.2|t|Water, then gout
11319941.2|a|
11319941.2\t0\t5\tWater\tChemical\tCHEBI:15377
"""


def test_articles_are_held_out_whole_and_paragraphs_without_a_chemical_are_not_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "craft.paragraphs.PubTator").write_text(PARAGRAPHS)
    assert main([str(tmp_path / "craft.paragraphs.PubTator"), "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "train: 1 paragraphs\ndev: 1 paragraphs\n"
    first, _, third = PARAGRAPHS.rstrip("\n").split("\n\n")
    assert (tmp_path / "craft.dev.PubTator").read_text() == f"{first}\n\n"
    assert (tmp_path / "craft.train.PubTator").read_text() == f"{third}\n\n"
    assert 0.15 < sum(is_held_out(str(article)) for article in range(1000)) / 1000 < 0.25

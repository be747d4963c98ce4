"""The experiment with corrected documents, at the size of a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.model.corpus import GoldDocument
from e2emern.warehouse.layout import Home
from experiments.corrections import experiment, main
from tests.flows.challengers import crown, make_challengers
from tests.flows.world import World
from tests.model import tiny

CONTINUE = """
encoder = "champion"
corpus = "corpus.parquet"
train = ["tiny/train"]
epochs = 1
tokens = 60
encoder_rate = 5e-3
head_rate = 5e-3
replay_share = 0.5
correction_weight = 2.0
precision = "fp32"
"""


def pubtator(documents: list[GoldDocument]) -> str:
    blocks = []
    for one in documents:
        lines = [f"{one.document_id}|t|{one.text}", f"{one.document_id}|a|"]
        for m in one.mentions:
            columns = (one.document_id, m.start, m.end, one.text[m.start : m.end], m.entity_type, *m.concepts)
            lines.append("\t".join(map(str, columns)))
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


def test_corrections_are_trained_on_and_the_other_documents_scored(world: World, tmp_path: Path) -> None:
    data = make_challengers(tmp_path / "data", world)
    (data / "continue.toml").write_text(CONTINUE)
    for name, copies in (("biored.train.PubTator", 4), ("biored.dev.PubTator", 5)):
        number = len(name) * 1000  # of other documents in each file
        named = [
            replace(one, document_id=f"{number + at}{one.document_id}") for at in range(copies) for one in tiny.gold()
        ]
        (data / name).write_text(pubtator(named))
    crown(Home(tmp_path / "out" / "home"), data / "poor")

    def run(words: Sequence[str]) -> str:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    found = experiment(
        data, tmp_path / "out", documents=12, judging=4, champion=data / "poor", config=str(data / "continue.toml"),
        mesh=world.mesh, learned=(), device="cpu", run=run,
    )  # fmt: skip
    assert (found["corrected"], found["judging"]) == (12, 4)
    rows = [row for row in found["comparison"]["cells"] if row["protocol"] == "document"]
    assert {row["split"] for row in rows} == {"others"}
    assert all({"champion", "challenger", "low", "high"} <= set(row) for row in rows)
    assert found["summary"].startswith("model ")
    assert json.loads((tmp_path / "out" / "corrections.json").read_text()) == found


def test_what_is_missing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith(f"No such file or directory: '{tmp_path / 'biored.train.PubTator'}'\n")

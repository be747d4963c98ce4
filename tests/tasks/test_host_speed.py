"""Measuring a host gives figures that add up, for text of the sample and of files."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.tasks.errors import InputError
from e2emern.tasks.host_speed import documents_of, documents_of_sample
from tests.flows.world import World, dump
from tests.pages import arguments


def test_documents_are_endless(tmp_path: Path) -> None:
    found = list(islice(documents_of_sample(), 200))
    assert len({one.text for one in found}) == 200
    assert 150 < sum(len(one.text.split()) for one in found) / 200 < 350
    assert found == list(islice(documents_of_sample(), 200))  # the same each time
    (tmp_path / "a.xml.gz").write_bytes(dump(1, documents=3))
    assert [one.document_id for one in islice(documents_of([tmp_path / "a.xml.gz"]), 4)] == [
        "1000",
        "1001",
        "1002",
        "1000",
    ]
    (tmp_path / "empty.xml").write_text("<PubmedArticleSet></PubmedArticleSet>")
    with pytest.raises(InputError, match="no document with text"):
        documents_of([tmp_path / "empty.xml"])


def test_a_host_is_measured_and_a_first_load_planned(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("host_speed", "chunks"):
        monkeypatch.setattr(f"e2emern.tasks.{module}.cores", lambda: 1)
    (tmp_path / "home" / "dumps").mkdir(parents=True)
    (tmp_path / "home" / "dumps" / "pubmed26n0001.xml.gz").write_bytes(dump(1))
    monkeypatch.chdir(tmp_path)
    quickly = ["--model", str(world.model), "--mesh", str(world.mesh), "--device", "cpu", "--seconds", "1"]
    done = CliRunner().invoke(app, [*arguments("operations", "e2emern bench"), *quickly])
    assert done.exit_code == 0, done.exception
    assert "40,000,000 documents of this length take " in done.stdout
    command, pattern = arguments("operations", "e2emern bench home/dumps/*.xml.gz")
    words = [command, *map(str, Path().glob(pattern)), "--documents", "1000", "--json"]
    done = CliRunner().invoke(app, [*words, *quickly])
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    (speed,) = found["speeds"]
    assert (speed["processes"], speed["threads"], speed["documents"] % 32) == (1, 1, 0)
    assert speed["cpu_seconds"] > 0
    assert found["hours"] == pytest.approx(1000 * speed["seconds"] / speed["documents"] / 3600)
    assert (found["tables_gb"], found["dumps_gb"]) == (pytest.approx(0.0018), pytest.approx(0.0015))
    assert found["batch"] % 1_000 == 0 < found["batch"]
    assert found["batch_minutes"] == pytest.approx(found["batch"] / found["documents"] * found["hours"] * 60)

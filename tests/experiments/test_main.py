"""A miniature of the whole table: every row trains, is scored, compared and reported, in one command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.model.corpus import write_corpus
from experiments.__main__ import main
from experiments.page import write_page
from experiments.rows import CLAIMS, ROWS
from tests.model import tiny


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the arguments of every command here: a random encoder, a corpus, a vocabulary and output folders."""
    folder = tmp_path_factory.mktemp("experiments")
    tiny.save_encoder(folder / "encoder")
    train = [
        replace(document, document_id=f"{copy}.{document.document_id}") for copy in (1, 2) for document in tiny.gold()
    ]
    write_corpus([*train, *tiny.gold(split="dev")], folder / "corpus.parquet")
    tiny.save_entities(folder)
    return [
        "--corpus", str(folder / "corpus.parquet"), "--mesh", str(folder / "entities/tiny.parquet"),
        "--encoder", str(folder / "encoder"), "--train", "tiny/train", "--dev", "tiny/dev", "--budget", "tiny",
        "--seeds", "1", "--device", "cpu", "--work", str(folder / "work"), "--output", str(folder / "results.json"),
        "--page", str(folder / "results.md"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def results(given: list[str]) -> Path:
    """Return the results of every row."""
    assert main([*given, "--epochs", "2"]) == 0
    return Path(given[given.index("--output") + 1])


def test_every_row_has_figures_and_is_compared_with_ours(results: Path) -> None:
    found = json.loads(results.read_text())
    assert [(run["row"], run["seed"]) for run in found["runs"]] == [(row, 0) for row in ROWS]
    protocols = {row: {m["protocol"] for m in found["rows"] if m["row"] == row} for row in ROWS}
    asked = {"ner", "link", "mention", "document"}
    assert all(asked <= each for each in protocols.values())
    without_mid = {"dictionary", "low", "tf-idf", "pipeline", "parallel", "without-mid"}
    assert {row for row, each in protocols.items() if "recall@1 mid" not in each} == without_mid
    without_high = {"dictionary", "low", "tf-idf", "pipeline", "parallel", "without-high"}
    assert {row for row, each in protocols.items() if "paper" not in each} == without_high
    assert {(g["better"], g["worse"]) for g in found["gains"]} == {
        *(("progressive", row) for row in ROWS if row != "progressive"),
        *((claim.better, claim.worse) for claim in CLAIMS),
    }


def test_rows_are_compared_over_the_seeds_that_both_have(given: list[str], results: Path, tmp_path: Path) -> None:
    more = [*given, "--epochs", "2", "--row", "low", "--seeds", "2"]
    for suffix in ("json", "parquet"):
        shutil.copyfile(results.with_suffix(f".{suffix}"), tmp_path / f"results.{suffix}")
    more[more.index("--output") + 1], more[more.index("--page") + 1] = (
        str(tmp_path / "results.json"),
        str(tmp_path / "p"),
    )
    assert main(more) == 0
    before, after = (json.loads(path.read_text()) for path in (results, tmp_path / "results.json"))
    assert [run["seed"] for run in after["runs"] if run["row"] == "low"] == [0, 1]
    assert after["gains"] == before["gains"]
    page = (tmp_path / "p").read_text()
    assert "* `progressive`: framework: ours, three levels, bilinear attention, candidate loss (seed 0 alone)" in page
    assert {run["commit"] for run in after["runs"]} == {after["runs"][0]["commit"]}


def test_the_dictionary_row_links_by_names_alone(results: Path) -> None:
    found = json.loads(results.read_text())
    whole = {
        (m["protocol"], m["entity_type"]): m["mean"]
        for m in found["rows"]
        if m["row"] == "dictionary" and m["slice"] == "all"
    }
    assert whole["link", "Disease"] == 1.0  # every gold mention of the tiny documents is a name
    assert whole["ner", "Chemical"] == whole["document", "Chemical"] == 1.0


def test_finished_runs_are_not_repeated_but_a_row_can_be(
    given: list[str], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, counts = results.read_bytes(), results.with_suffix(".parquet").read_bytes()
    assert main([*given, "--epochs", "2"]) == 0
    assert capsys.readouterr().out.count("finished before") == len(ROWS)
    assert (results.read_bytes(), results.with_suffix(".parquet").read_bytes()) == (before, counts)
    assert main([*given, "--epochs", "2", "--row", "without-mid", "--again"]) == 0
    again = json.loads(results.read_text())
    assert again["rows"] == json.loads(before)["rows"]
    assert results.with_suffix(".parquet").read_bytes() == counts


def test_results_of_another_experiment_are_not_resumed(
    given: list[str], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*given, "--epochs", "3"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{results} was made from another budget (")
    assert error.endswith("; name another --output\n")
    assert error.count("\n") == 1


def test_a_single_row_has_a_page_without_comparison(given: list[str], tmp_path: Path) -> None:
    alone = [
        *given,
        "--epochs",
        "2",
        "--row",
        "dictionary",
        "--output",
        str(tmp_path / "r.json"),
        "--page",
        str(tmp_path / "p.md"),
    ]
    assert main(alone) == 0
    page = (tmp_path / "p.md").read_text()
    assert "| `dictionary` | 100.0 | 100.0 | 100.0 |  |" in page
    assert "progressive" not in page


def test_a_trained_model_is_scored_again_without_training(
    given: list[str], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    places = ["--output", str(output), "--page", str(tmp_path / "page.md")]
    assert main([*given, "--epochs", "2", "--row", "tf-idf", *places]) == 0
    assert "is already trained" in capsys.readouterr().out
    assert json.loads(output.read_text())["rows"] == [
        row for row in json.loads(results.read_text())["rows"] if row["row"] == "tf-idf"
    ]


def test_the_page_is_written_from_the_results(given: list[str], results: Path) -> None:
    assert Path(given[given.index("--page") + 1]).read_text() == write_page(json.loads(results.read_text()))


def test_damaged_results_are_reported_in_one_line(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    output.write_text("{}")
    assert main([*given, "--epochs", "2", "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{output}: not valid results (")
    assert error.count("\n") == 1

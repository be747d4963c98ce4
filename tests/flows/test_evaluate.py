"""`e2emern evaluate` and `e2emern statistics`, on the little world."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from e2emern.flows.cli import app
from e2emern.model.corpus import write_corpus
from e2emern.model.evaluation.metrics import EVALUATIONS
from e2emern.model.pretrained import keep_fitted
from e2emern.tasks.errors import InputError
from tests.flows.world import World
from tests.model import tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gold") / "corpus.parquet"
    write_corpus([*tiny.gold(), *tiny.gold(split="dev")], path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_seeds_are_scored_compared_and_written(world: World, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores"
    other = shutil.copytree(world.model, tmp_path / "other")  # differs only in name and version
    keep_fitted(other, {"seed": 1})
    ended = run(
        "evaluate", f"tiny/dev={corpus}", "--seen", f"tiny/train={corpus}", "--model", world.model, "--model",
        other, "--against", world.model, "--mesh", world.mesh, "--slices", "--output", output, "--device", "cpu",
        "--html", tmp_path / "page.html",
    )  # fmt: skip
    assert ended.exception is None
    assert ended.stdout == (output / "report.md").read_text()
    assert "Mean of 2 models, with the least and the greatest." in ended.stdout
    assert ended.stderr.endswith(
        f"e2emern: wrote evaluation.json, evaluation.parquet and report.md to {output}\n"
        f"e2emern: wrote {tmp_path / 'page.html'}\n"
    )
    page = (tmp_path / "page.html").read_text()
    assert "Reliability of links of gold spans" in page
    assert "concept seen" in page
    assert "With only the links of a minimum score:" in ended.stdout
    table = pq.read_table(output / "evaluation.parquet")
    assert table.schema.equals(EVALUATIONS)
    written = json.loads((output / "evaluation.json").read_text())
    assert written["figures"] == table.to_pylist()
    cutoffs = [
        (row["entity_type"], row["protocol"], row["recall"]) for row in written["cutoffs"] if not row["min_score"]
    ]
    assert ("Disease", "mention", 1.0) in cutoffs
    assert written["omim"] == [{"corpus": "tiny", "split": "dev", "ids": 0, "unmapped": 0}]
    (spread,) = [
        row
        for row in written["spread"]
        if (row["protocol"], row["slice"], row["entity_type"], row["figure"]) == ("ner", "all", "Disease", "f1")
    ]
    assert (spread["mean"], spread["least"], spread["greatest"], spread["models"]) == (1.0, 1.0, 1.0, 2)
    assert written["comparison"]["overall"]["document"] == {"champion": 1.0, "challenger": 1.0, "low": 0.0, "high": 0.0}
    assert {row["slice"] for row in written["figures"]} >= {"all", "string seen", "concept seen"}


def test_only_the_requested_protocols(world: World, corpus: Path, tmp_path: Path) -> None:
    ended = run(
        "evaluate", f"tiny/dev={corpus}", "--protocol", "ner", "--protocol", "document", "--model", world.model,
        "--mesh", world.mesh, "--output", tmp_path,
    )  # fmt: skip
    assert ended.exception is None
    rows = json.loads((tmp_path / "evaluation.json").read_text())["figures"]
    assert {row["protocol"] for row in rows} == {"ner", "document"}
    assert {row["floor"] for row in rows} == {None}  # nothing seen to look up


def test_errors_come_before_any_model_is_loaded(world: World, corpus: Path, tmp_path: Path) -> None:
    given = ["evaluate", f"tiny/dev={corpus}", "--mesh", world.mesh, "--output", tmp_path / "out"]
    for more, reason in (
        (["--model", world.model, "--slices"], "slices need the training documents; name them with --seen"),
        (["--model", tmp_path / "none"], "none: no such model folder"),
        (["--model", world.model, "--against", tmp_path / "none"], "none: no such model folder"),
        (["--model", world.model, "--model", world.model], "are the same model, "),
    ):
        ended = run(*given, *more)
        assert isinstance(ended.exception, InputError)
        assert reason in str(ended.exception)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").touch()
    ended = run(*given, "--model", world.model)
    assert isinstance(ended.exception, InputError)
    assert str(ended.exception) == f"{tmp_path / 'out'}: is a file, expected a folder to write to"
    assert run(*given, "--protocol", "guess").exit_code == 2


SPELT = """\
1|t|The patients had severe breast cancer.
1|a|Colon cancer was treated with cisplatin.
1\t24\t37\tbreast cancer\t{disease}\t{breast}
1\t39\t51\tColon cancer\t{Disease}\t{colon}
1\t69\t78\tcisplatin\t{chemical}\t{cisplatin}
"""
PLAIN = {"disease": "Disease", "Disease": "Disease", "chemical": "Chemical"}
IDS = {"breast": "D001", "colon": "D002", "cisplatin": "C007"}


def figures(world: World, folder: Path, spelling: dict[str, str]) -> tuple[dict[tuple[str, str], float], str]:
    """The F1 or accuracy of each type and protocol on one document, and the messages."""
    gold = folder / "gold.PubTator"
    gold.write_text(SPELT.format(**PLAIN | IDS | spelling))
    ended = run("evaluate", gold, "--model", world.model, "--mesh", world.mesh, "--output", folder, "--device", "cpu")
    assert ended.exception is None
    rows = pq.read_table(folder / "evaluation.parquet").to_pylist()
    kept = {"f1", "accuracy@1"}
    found = {(row["protocol"], row["entity_type"]): row["value"] for row in rows if row["figure"] in kept}
    return {key: value for key, value in found.items() if key[0] in ("ner", "link", "document")}, ended.stderr


def test_spellings_of_types_and_ids_do_not_matter(world: World, tmp_path: Path) -> None:
    plain, _ = figures(world, tmp_path, {})
    assert plain["link", "Disease"] == plain["link", "Chemical"] == 1.0
    for spelling in (
        {"disease": "DISEASE", "Disease": "disease", "chemical": "CHEMICAL"},
        {"disease": "SpecificDisease", "Disease": "DiseaseOrPhenotypicFeature", "chemical": "ChemicalEntity"},
        {"breast": "mesh:D001", "colon": "MeSH:D002", "cisplatin": "MESH: C007*"},
    ):
        assert figures(world, tmp_path, spelling)[0] == plain


def test_gold_without_an_id_counts_for_ner_only(world: World, tmp_path: Path) -> None:
    plain, _ = figures(world, tmp_path, {})
    without, written = figures(world, tmp_path, {"cisplatin": "CUI-less", "colon": "NIL"})
    assert without["ner", "Disease"] == plain["ner", "Disease"]
    assert without["ner", "Chemical"] == plain["ner", "Chemical"]
    assert without["link", "Disease"] == 1.0
    assert ("link", "Chemical") not in without
    assert "not in the vocabulary" not in written


def test_gold_ids_that_the_vocabulary_lacks_are_counted(world: World, tmp_path: Path) -> None:
    _, written = figures(world, tmp_path, {"colon": "D999"})
    line = "e2emern: 1 of 3 gold ids is not in the vocabulary of MeSH tiny, such as D999"
    assert line in written.splitlines()
    assert line in run("statistics", tmp_path / "gold.PubTator", "--mesh", world.mesh).stderr.splitlines()


def test_corpus_reports_skipped_annotations(world: World, tmp_path: Path) -> None:
    gold = tmp_path / "gold.PubTator"
    gold.write_text(SPELT.format(**PLAIN | IDS | {"chemical": "Gene", "colon": "D999"}))
    ended = run("corpus", f"a/b={gold}", "--mesh", world.mesh, "--output", tmp_path / "corpus.parquet")
    assert ended.stdout.splitlines() == [
        "gold.PubTator: passed over: 1 Gene",
        "a/b: 1 document, 2 mentions",
        "1 of 2 gold ids is not in the vocabulary of MeSH tiny, such as D999",
    ]


def test_statistics(world: World, corpus: Path) -> None:
    ended = run("statistics", corpus, "--mesh", world.mesh, "--format", "csv")
    assert ended.stdout.splitlines() == [
        "corpus,split,documents,sentences,words,mentions,distinct_mentions,concepts,id_strings,labels,without_concept,"
        "composite,cut",
        "tiny,train,5,5,28,7,7,7,7,5,0,0,0",
        "tiny,dev,5,5,28,7,7,7,7,5,0,0,0",
        "tiny,all,10,10,56,14,7,7,7,5,0,0,0",
    ]

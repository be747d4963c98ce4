"""`e2emern models ...` and `e2emern drift` as a user sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.model.corpus import write_corpus
from e2emern.model.evaluation.metrics import EVALUATIONS
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.login import login
from e2emern.warehouse.registry.evaluations import Check, Judged, evaluations, read_report, write_judged
from e2emern.warehouse.registry.models import champion, changes
from tests.flows.challengers import crown, make_challengers
from tests.flows.world import World, articles, pubmed
from tests.model import tiny
from tests.pages import arguments


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def judge(home: Path, version: str, *, against: str, passed: bool) -> None:
    check = Check(name="document F1", champion=0.5, challenger=0.4, least=0.5, passed=passed, reason="50.0 -> 40.0")
    judged = Judged(
        evaluation=f"{version}-{against}", evaluated="2026-01-02T03:04:05+00:00", challenger=version,
        champion=against, mesh_version="tiny", checks=(check,),
    )  # fmt: skip
    write_judged(Home(home), judged, figures=pa.Table.from_pylist([], schema=EVALUATIONS), report="# It is good\n")


def test_a_model_is_added_judged_promoted_and_rolled_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from e2emern.defaults import MODEL

    monkeypatch.chdir(tmp_path)
    home, version, bundled = tmp_path / "home", model_version(world.model), model_version(MODEL)
    home.mkdir()
    assert run("models", "list", "--home", home).stdout == "the bundled model is the champion\n"
    assert run("models", "add", world.model, "--home", home).stdout == f"{version}\n"
    refused = run("models", "promote", version, "--home", home)
    assert isinstance(refused.exception, InputError)
    assert str(refused.exception) == (
        f"model {version} was not compared with the champion {bundled}; compare them with `e2emern models judge`, or "
        "promote it anyway with --accept WHY"
    )
    judge(home, version, against=bundled, passed=False)
    refused = run("models", "promote", version, "--home", home)
    assert str(refused.exception) == f"model {version} was refused: 50.0 -> 40.0; or promote --accept WHY"
    assert f"{version} refused       added 20" in run("models", "list", "--home", home).stdout
    assert run("models", "show", version, "--home", home).stdout.endswith(" bytes\n\n# It is good\n")
    ended = run("models", "promote", version, "--home", home, "--accept", "we know")
    assert ended.stdout == f"{version} is the champion in place of the bundled model\n"
    listed = run("models", "list", "--home", home).stdout.splitlines()
    assert listed[0].startswith(f"{version} champion ")
    assert listed[1].endswith(f" {login()} promoted from the bundled model to {version}: we know")
    ended = run("models", "rollback", "--home", home, "--why", "we did not")
    assert ended.stdout == f"the bundled model is the champion in place of {version}\n"
    judge(home, version, against=bundled, passed=True)
    assert run("models", "promote", version, "--home", home).exit_code == 0
    assert changes(Home(home))[-1].evaluation == f"{version}-{bundled}"
    assert run(*arguments("retention", "e2emern models add --home home")).stdout == f"{bundled}\n"


def test_an_added_model_is_compared_with_the_champion(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, home, version = make_challengers(tmp_path, world), tmp_path / "home", model_version(world.model)
    poor = crown(Home(home), folder / "poor")
    run("models", "add", world.model, "--home", home)
    words = arguments("retention", "e2emern models judge VERSION --gold corpora/biored.dev.PubTator --home home")
    instead = {"VERSION": version, "corpora/biored.dev.PubTator": f"tiny/dev={folder / 'corpus.parquet'}"}
    seen = ["--seen", f"tiny/train={folder / 'corpus.parquet'}"]
    ended = run(*(instead.get(word, word) for word in words), *seen, "--mesh", world.mesh, "--device", "cpu")
    (judged,) = evaluations(Home(home))
    assert (judged.challenger, judged.champion) == (version, poor)
    assert ended.exit_code == (0 if judged.passed else 1)
    assert ended.stdout == read_report(Home(home), judged.evaluation)
    assert ended.stderr.splitlines()[-1].startswith(
        f"e2emern: model {version} {'passes the gate' if judged.passed else 'is refused: '}"
    )
    document = judged.checks[0]
    assert (document.name, document.passed) == ("document F1", True)
    assert document.challenger > document.champion
    assert run("models", "promote", version, "--home", home).exit_code == ended.exit_code


def test_a_model_is_retrained_and_used(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    tiny.save_encoder(tmp_path / "encoder")
    gold = [replace(one, document_id=f"{at}{one.document_id}") for at in range(4) for one in tiny.gold()]
    none = [replace(one, split="none", document_id=f"n{one.document_id}", mentions=()) for one in gold]
    none_dev = [replace(one, split="none-dev", mentions=()) for one in gold]
    dev = [replace(one, document_id=f"{at}{one.document_id}") for at in range(4) for one in tiny.gold(split="dev")]
    write_corpus([*dev, *none, *none_dev], tmp_path / "corpus.parquet")
    (tmp_path / "mine.toml").write_text(
        'encoder = "encoder"\ncorpus = "corpus.parquet"\ntrain = ["tiny/none"]\ndev = ["tiny/none-dev"]\nepochs = 6\n'
        'tokens = 60\nprecision = "fp32"\n'
    )
    run("models", "add", world.model, "--home", home)
    run("models", "promote", model_version(world.model), "--home", home, "--accept", "the first")
    words = ["models", "retrain", "--home", home, "--config", tmp_path / "mine.toml", "--mesh", world.mesh]
    compared = ["--gold", f"tiny/dev={tmp_path / 'corpus.parquet'}"]
    ended = run(*words, *compared, "--encoder", "recipe", "--device", "cpu")
    assert ended.exception is None
    assert " is refused: document F1: " in ended.stdout
    assert champion(Home(home)) == model_version(world.model)
    (tmp_path / "in.xml").write_text(pubmed(articles(3, first=100)))
    annotate_sources([tmp_path / "in.xml"], home, mesh=world.mesh, device="cpu")
    ended = run("sql", "--home", home, "--format", "csv", "SELECT DISTINCT model_version FROM mentions")
    assert ended.stdout.split() == ["model_version", model_version(world.model)]
    assert run("drift", "--home", home).stdout.endswith(": 0 nights before it, too few to compare\n")


def test_missing_models_are_reported(tmp_path: Path) -> None:
    for words, reason in (
        (["models", "show", "aaa"], f"{tmp_path} has no model aaa; found none (e2emern models list)"),
        (["models", "promote", "aaa"], f"{tmp_path} has no model aaa; found none (e2emern models list)"),
        (["models", "rollback"], f"the champion of {tmp_path} is the bundled model; no promotion is left to undo"),
        (["drift"], f"{tmp_path} has no snapshot yet; annotate something into it first"),
    ):
        ended = run(*words, "--home", tmp_path)
        assert isinstance(ended.exception, WarehouseError)
        assert str(ended.exception) == reason
    ended = run("models", "add", tmp_path / "none", "--home", tmp_path)
    assert str(ended.exception) == f"{tmp_path / 'none'}: no such model folder"
    ended = run("models", "add", tiny.save_encoder(tmp_path / "encoder"), "--home", tmp_path)
    assert str(ended.exception).startswith(f"{tmp_path / 'encoder'}: not an e2emern model: ")
    assert run("models", "list", "--home", tmp_path).stdout == "the bundled model is the champion\n"
    with pytest.raises(FileNotFoundError):
        (tmp_path / "models" / "aaa").stat()

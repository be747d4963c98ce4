"""Retraining with tiny models: refused, promoted, rolled back, resumed after a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.retrain import Retrained, Steps, pending_promotion, retrain_model
from e2emern.model.corpus import read_corpus
from e2emern.model.inference.resolver import Resolver
from e2emern.model.pretrained import keep_fitted
from e2emern.model.seen import Seen, identities, read_seen, write_seen
from e2emern.model.version import model_version
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.corrected import Effect
from e2emern.tasks.evaluation.drift import read_news
from e2emern.tasks.evaluation.promotion_gate import Margins
from e2emern.tasks.training.corrections import read_corrections
from e2emern.tasks.training.distill import make_silver
from e2emern.tasks.training.retrain import Plan, already_trained, make_challenger, plan_retraining
from e2emern.tasks.training.to_correct import choose_to_correct
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.registry.evaluations import read_report
from e2emern.warehouse.registry.models import add_model, champion, changes, models, promote, roll_back_model
from e2emern.warehouse.wording import plural
from tests.flows.challengers import MARGINS, crown, make_challengers
from tests.flows.world import World, rows

ROOT = Path(__file__).parents[2]
CORRECTED = """7|t|Cisplatin induced renal failure.
7|a|Headache was severe.
7\t0\t9\tCisplatin\tChemical\tC007
7\t18\t31\trenal failure\tDisease\tD004
7\t33\t41\tHeadache\tDisease\tD005

8|t|Aspirin for headache.
8|a|
8\t0\t7\tAspirin\tChemical\tD006
8\t12\t20\theadache\tDisease\tD999

9|t|Aspirin for fever.
9|a|
9\t1\t8\tAspirin\tChemical\tD006

4|t|Cisplatin induced renal failure.
4|a|Headache was severe.
4\t0\t9\tCisplatin\tChemical\tC007
4\t18\t31\trenal failure\tDisease\tD004
4\t33\t41\tHeadache\tDisease\tD005
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    return make_challengers(tmp_path_factory.mktemp("data"), world)


def retrained(home: Home, data: Path, world: World, recipe: str, **options: Any) -> Retrained:
    given: dict[str, Any] = {"margins": MARGINS, "log": lambda line: None, "encoder": str(world.model)} | options
    return retrain_model(
        home, config=data / f"{recipe}.toml", mesh=world.mesh, device="cpu", sample=data / "sample.xml", **given
    )


def planned(home: Home, data: Path, world: World, recipe: str, **options: Any) -> Plan:
    given: dict[str, Any] = {"log": lambda line: None, "encoder": str(world.model)} | options
    return plan_retraining(home, config=data / f"{recipe}.toml", mesh=world.mesh, **given)


def on_dev(data: Path) -> list[str]:
    """The documents to compare a bad challenger on: those of its recipe have no mentions."""
    return [f"tiny/dev={data / 'corpus.parquet'}"]


def test_a_worse_challenger_is_refused(data: Path, world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    standing = crown(home, world.model)
    done = retrained(home, data, world, "bad", encoder="recipe", gold=on_dev(data))
    assert done.promoted is None
    assert champion(home) == standing
    assert done.judged is not None
    assert done.summary.startswith(f"model {done.judged.challenger} is refused: document F1: 100.0 -> ")
    assert [(check.name, check.passed) for check in done.judged.checks][:3] == [
        ("document F1", False),
        ("document F1, tiny/dev Chemical", False),
        ("document F1, tiny/dev Disease", False),
    ]
    assert [(check.name, check.passed) for check in done.judged.checks][-1] == ("documents a second", True)
    assert done.judged.data["gold"] == {"tiny/none": 20}
    report = read_report(home, done.judged.evaluation)
    assert report.startswith(f"# Model {done.judged.challenger} is refused against {standing}\n\n* document F1: 100.0")
    assert "\n| check | champion | challenger | 95 % interval | least | |\n" in report
    assert "\n# Evaluation\n" in report
    kept = models(home)[-1]
    assert kept.version == done.judged.challenger
    assert {"bank.safetensors", "metrics.json", "README.md", "recipe.json", "seen.json"} <= set(kept.files)
    (left,) = home.training.glob("*/")
    assert {path.name for path in left.iterdir()} == {"data.json", "ended.json"}
    logged: list[str] = []
    again = retrained(home, data, world, "bad", encoder="recipe", gold=on_dev(data), log=logged.append)
    assert again == done
    assert [line for line in logged if "epoch" in line] == []
    retrained(home, data, world, "bad", encoder="recipe", gold=on_dev(data), keep_days=0, log=logged.append)
    version = done.judged.challenger
    assert logged[-1] == f"deleted 1 challenger, refused more than 0 days ago: {version}"
    assert [one.version for one in models(home)] == [standing]
    assert read_report(home, done.judged.evaluation) == report


def test_a_better_challenger_replaces_the_champion_and_a_rollback_restores_it(
    data: Path, world: World, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(data / "poor", tmp_path / "poor")
    on_the_list = [one for one in read_corpus(data / "corpus.parquet") if one.document_id == "d0dev-3"]
    write_seen(tmp_path / "poor", Seen(fitted=identities(on_the_list)))
    poor = crown(home, tmp_path / "poor")
    logged: list[str] = []
    (home.root / "corrections").mkdir()
    (home.root / "corrections" / "mine.txt").write_text(CORRECTED)
    assert status(home).pending_corrections == ("mine.txt",)
    done = retrained(home, data, world, "good", log=logged.append)
    assert done.judged is not None
    new = done.judged.challenger
    assert done.summary == f"model {new} passed the gate and is the champion in place of {poor}"
    assert champion(home) == new
    assert changes(home)[-1].evaluation == done.judged.evaluation
    assert status(home).pending_corrections == ()
    assert "corrections: mine.txt: 2 documents" in logged
    assert "1 document cannot judge: the champion or an ancestor has seen them" in logged
    assert done.judged.data["corrections/train"] == {"mine.txt": 2}
    assert done.judged.data["judged"] == {"tiny/gate": 9, "corrections/gate": 1}
    assert done.judged.data["gold"] == {"tiny/train": 15}
    effect = Effect(**done.judged.data["corrected mentions"])
    assert effect.corrected >= effect.now_right > 0
    assert effect.held_back > 0
    report = read_report(home, done.judged.evaluation)
    assert f"\n* {effect.corrected} corrected mentions, {effect.now_right} now right" in report
    learned = read_seen(models(home)[-1].folder)
    assert learned is not None
    assert (len(learned.trained), len(learned.fitted)) == (16, 11)  # of dev, four judge
    judging = [one for one in read_corpus(data / "corpus.parquet") if one.document_id in ("00", "d1dev-4")]
    assert not learned.all & identities(judging)
    assert [(one["document_id"], one["reason"]) for one in done.judged.data["refused"]] == [
        ("8", "D999 of 'headache' is not a concept of MeSH tiny"),
        ("9", "found 'spirin ' at 1-8, expected 'Aspirin'"),
    ]
    assert retrained(home, data, world, "good").summary == (
        "the champion was already trained with this recipe on these documents: nothing to do"
    )
    assert roll_back_model(home).champion == poor
    again = retrained(home, data, world, "good")
    assert again.promoted is None
    assert again.summary.startswith(
        f"model {new} was already promoted by evaluation {done.judged.evaluation} and rolled"
    )
    assert champion(home) == poor


def test_documents_that_an_ancestor_has_seen_do_not_judge_and_corrections_wait(
    data: Path, world: World, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(data / "poor", tmp_path / "poor")
    write_seen(tmp_path / "poor", Seen(trained=identities(read_corpus(data / "corpus.parquet"))))
    crown(home, tmp_path / "poor")
    home.corrections.mkdir()
    (home.corrections / "mine.txt").write_text(CORRECTED)
    done = retrained(home, data, world, "good", margins=Margins())
    assert done.judged is None
    assert done.summary == (
        "not trained: 1 document that no model has seen, expected 20: correct more, since a quarter of the corrections "
        "is held back to judge, or name gold that is new to the champion"
    )
    assert status(home).pending_corrections == ("mine.txt",)
    assert read_news(home).corrections == ("mine.txt",)  # so the next night tries again
    plan = planned(home, data, world, "good", encoder="champion", corrections=home.corrections)
    assert (plan.fresh, plan.judged, plan.recipe["dev"]) == (1, ("corrections/gate",), ())
    (home.corrections / "mine.txt").unlink()
    assert planned(home, data, world, "good", encoder="champion").fresh == 0
    shutil.copytree(data / "poor", tmp_path / "unknown")
    (tmp_path / "unknown" / "seen.json").unlink()
    with pytest.raises(InputError, match=r"unknown: does not list the documents it was trained on \(seen\.json\), so "):
        retrained(home, data, world, "good", encoder=str(tmp_path / "unknown"))


def test_a_model_that_continues_keeps_its_resolver_unless_there_is_enough_to_fit_another(
    data: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(world.model, tmp_path / "fitted")
    keep_fitted(tmp_path / "fitted", {"span_threshold": 0.9, "resolver": Resolver.unfitted().to_dict()})
    folder = home.model(crown(home, tmp_path / "fitted"))
    plan = planned(home, data, world, "good", encoder="champion")
    assert (plan.resolver_of, plan.near) == (folder.resolve(), None)
    monkeypatch.setattr("e2emern.tasks.training.retrain.LEAST_TO_FIT", 10)  # the tiny corpus has 10 documents to fit on
    plan = planned(home, data, world, "good", encoder="champion")
    assert (plan.resolver_of, plan.near) == (None, 0.9)
    assert (planned(home, data, world, "good").near, plan.judging) == (None, 10)


def test_without_new_labels_nothing_is_trained_and_documents_worth_correcting_are_written(
    data: Path, world: World, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(world.model, tmp_path / "all")
    write_seen(tmp_path / "all", Seen(trained=identities(read_corpus(data / "corpus.parquet"))))
    crown(home, tmp_path / "all")
    annotate_sources([data / "sample.xml"], home.root, mesh=world.mesh, device="cpu")
    logged: list[str] = []
    done = retrained(home, data, world, "good", encoder="champion", log=logged.append)
    assert done.judged is None
    assert done.summary.startswith(
        "the champion was already trained with this recipe on these documents: nothing to do; "
        f"{plural(len(done.to_correct), 'document')} worth correcting in {home.to_correct}: once corrected, put "
    )
    assert set(done.to_correct) <= {"300", "301", "302", "303"}
    assert done.to_correct
    assert logged[-1].startswith(f"worth correcting: document {done.to_correct[-1]}: '")
    assert " certain to " in logged[-1]
    home.corrections.mkdir()
    for path in home.to_correct.glob("*.pubtator"):
        path.rename(home.corrections / path.name)
    read = read_corrections(home.corrections, vocabulary=Vocabulary.read(world.mesh))
    assert [one.document_id for one in read.documents] == sorted(done.to_correct)
    assert read.refused == ()
    assert len(status(home).pending_corrections) == len(done.to_correct)
    (home.corrections / f"{done.to_correct[0]}.pubtator").rename(home.to_correct / f"{done.to_correct[0]}.pubtator")
    assert not {*done.to_correct} & {one.document_id for one in choose_to_correct(home)}  # none is chosen twice


def test_a_retraining_without_gold_names_the_setting(world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    done = retrain_model(home, mesh=world.mesh)
    assert done.summary == "nothing to learn: no corrections are pending, and no gold is named"
    home.corrections.mkdir()
    (home.corrections / "mine.txt").write_text(CORRECTED)
    with pytest.raises(InputError, match=r"no gold to train on: name its folder \(setting data, or --data\)"):
        retrain_model(home, mesh=world.mesh)


def test_what_cannot_be_trained_on_is_reported(data: Path, world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(InputError, match="none: no such folder of corrections"):
        retrained(home, data, world, "good", corrections=tmp_path / "none")
    with pytest.raises(
        InputError, match="tiny/train is used for training; models are compared on documents that they have"
    ):
        retrained(home, data, world, "good", gold=[f"tiny/train={data / 'corpus.parquet'}"])
    with pytest.raises(InputError, match="ours2: no such file, and none of the shipped recipes"):
        retrain_model(home, config=Path("ours2"), mesh=world.mesh)
    (data / "untaught.toml").write_text((data / "good.toml").read_text() + 'silver = "nowhere.parquet"\n')
    with pytest.raises(InputError, match=r"nowhere\.parquet: no such file of tagged sentences"):
        retrained(home, data, world, "untaught")
    with pytest.raises(InputError, match="cannot be used as a home"):
        retrained(Home(data / "good.toml"), data, world, "good")


def test_a_challenger_learns_from_tagged_sentences_too(data: Path, world: World, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Aspirin caused renal failure and headache.\n" * 9)
    make_silver(
        tmp_path / "text.txt", teachers=[world.model], mesh=world.mesh, output=data / "silver.parquet", pieces=50,
        device="cpu", log=lambda line: None,
    )  # fmt: skip
    (data / "taught.toml").write_text((data / "bad.toml").read_text() + 'silver = "silver.parquet"\n')
    home = Home(tmp_path / "home")
    crown(home, world.model)
    plans = [plan_retraining(home, config=data / f"{name}.toml", mesh=world.mesh) for name in ("bad", "taught")]
    assert plans[0].folder != plans[1].folder
    model = make_challenger(plans[1], device="cpu", log=lambda line: None)
    assert json.loads((model / "recipe.json").read_text())["silver_digest"]
    assert already_trained(plans[1], model)
    assert not already_trained(plans[0], model)


KILLED = """
import sys
from pathlib import Path
from e2emern.flows.retrain import retrain_model
from e2emern.tasks.evaluation.promotion_gate import Margins
from e2emern.warehouse.layout import Home
home, config, mesh, encoder = map(Path, sys.argv[1:])
retrain_model(Home(home), config=config, mesh=mesh, encoder=str(encoder), device="cpu",
              margins=Margins(least_documents=1), log=lambda line: print(line, flush=True))
"""


def test_a_killed_retraining_resumes(data: Path, world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    poor = crown(home, data / "poor")
    words = [sys.executable, "-c", KILLED, home.root, data / "good.toml", world.mesh, world.model]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2 dev"):
                process.send_signal(signal.SIGKILL)
                break
    assert champion(home) == poor
    logged: list[str] = []
    done = retrained(home, data, world, "good", log=logged.append)
    assert [line.split()[1] for line in logged if " dev " in line][-1] == "5"
    assert len([line for line in logged if " dev " in line]) < 6
    assert done.promoted is not None
    undisturbed = retrained(Home(tmp_path / "other"), data, world, "good")
    assert done.judged is not None
    assert undisturbed.judged is not None
    assert done.judged.challenger == undisturbed.judged.challenger


def test_a_promotion_that_the_tables_do_not_use_yet_is_found(data: Path, world: World, tmp_path: Path) -> None:
    """A retraining that dies between a promotion and its event has nothing to train when it is restarted."""
    home = Home(tmp_path / "home")
    poor = crown(home, data / "poor")
    annotate_sources([data / "sample.xml"], home.root, mesh=world.mesh, device="cpu")
    assert pending_promotion(home) is None
    better = add_model(home, world.model, version=model_version(world.model)).version
    promoted = promote(home, better, over=poor, evaluation="one that it passed")
    assert pending_promotion(home) == promoted
    annotate_sources([data / "sample.xml"], home.root, mesh=world.mesh, device="cpu")
    assert pending_promotion(home) is None
    roll_back_model(home)
    assert pending_promotion(home) is None


STEPS = [field.name for field in fields(Steps)]


class Stopped(BaseException):
    """The process ends here."""


def test_a_retraining_stopped_between_any_two_steps_resumes(data: Path, world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    crown(home, data / "poor")
    begun: list[str] = []

    def stopping_after(last: str) -> Steps:
        def stopping(name: str) -> Callable[..., Any]:
            def run(*given: Any, **options: Any) -> Any:
                begun.append(name)
                done = getattr(Steps(), name)(*given, **options)
                if name == last:
                    raise Stopped
                return done

            return run

        return Steps(**{name: stopping(name) for name in STEPS})

    for last in STEPS:
        with pytest.raises(Stopped):
            retrained(home, data, world, "good", steps=stopping_after(last))
    logged: list[str] = []
    done = retrained(home, data, world, "good", log=logged.append)
    assert begun == ["plan", "plan", "train", "plan", "train", "compare"]
    assert done.promoted is not None
    assert [line for line in logged if "dev precision" in line] == []
    assert len(list((home.root / "evaluations").iterdir())) == 1


def test_verdicts_are_in_the_tables(data: Path, world: World, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    standing = crown(home, world.model)
    annotate_sources([data / "sample.xml"], home.root, mesh=world.mesh, device="cpu")
    done = retrained(home, data, world, "bad", encoder="recipe", gold=on_dev(data))
    assert done.judged is not None
    assert rows(home.root, "SELECT number, operation FROM snapshot") == [(2, "evaluate")]
    assert rows(home.root, "SELECT model_version, champion, passed FROM models ORDER BY added") == [
        (standing, True, None),
        (done.judged.challenger, False, False),
    ]
    figures = "SELECT value FROM evaluations WHERE figure = 'f1' AND protocol = 'document' AND slice = 'all'"
    assert rows(home.root, f"{figures} ORDER BY value DESC LIMIT 2") == [(1.0,), (1.0,)]
    refused = "SELECT champion, challenger < 0.9, low < -0.01, passed FROM checks WHERE name = 'document F1'"
    assert rows(home.root, refused) == [(1.0, True, True, False)]
    recipe = rows(home.root, "SELECT recipe FROM models WHERE NOT champion")[0][0]
    assert json.loads(str(recipe))["train"] == ["tiny/none"]

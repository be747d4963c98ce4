"""The documents that a model and its ancestors have seen are stored with it, and do not choose, fit or judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.defaults import MODEL
from e2emern.model.corpus import GoldDocument, write_corpus
from e2emern.model.errors import FileError
from e2emern.model.pretrained import save_model
from e2emern.model.seen import Seen, add_seen, identities, identity, read_seen, union, unseen, write_seen
from e2emern.model.training.average import average
from e2emern.model.training.calibrate import thresholds_near, tune_folder
from e2emern.model.training.recipe import Recipe, RecipeError
from e2emern.model.training.train import Trained, train
from tests.model import tiny


def named(*names: str, split: str = "train") -> list[GoldDocument]:
    """Documents with these ids, of the third sentence."""
    return [replace(tiny.gold(split=split)[2], document_id=name) for name in names]


def trained(
    folder: Path, name: str, *, dev: Sequence[GoldDocument], learned: Sequence[GoldDocument], encoder: str = "encoder"
) -> tuple[Trained, list[str]]:
    logged: list[str] = []
    write_corpus([*learned, *dev], folder / f"{name}.parquet")
    recipe = Recipe(encoder=encoder, train=("tiny/train",), dev=("tiny/dev",) if dev else (), epochs=2, tokens=40)
    done = train(
        recipe, corpus=folder / f"{name}.parquet", mesh=folder / "entities/tiny.parquet", output=folder / name,
        folder=folder, log=logged.append,
    )  # fmt: skip
    return done, logged


def test_a_pmid_is_the_same_document_everywhere_and_other_ids_only_with_the_same_text() -> None:
    one, other = tiny.gold()[:2]
    assert identity(replace(one, document_id="8528200")) == identity(replace(other, document_id="8528200")) == "8528200"
    respaced = replace(one, corpus="corrections", text=one.text.upper().replace(" ", "  "))
    assert identity(one) == identity(respaced) == "0 82c13e64"
    assert identity(one) != identity(replace(other, document_id=one.document_id))
    assert unseen([one, other], identities([one])) == [other]


def test_the_list_passes_to_all_descendants(tmp_path: Path) -> None:
    tiny.save_training(tmp_path)
    mesh = tmp_path / "entities/tiny.parquet"
    first, _ = trained(tmp_path, "first", learned=named("11111", "22222"), dev=named("33333", split="dev"))
    found = Seen(trained=frozenset({"11111", "22222"}), fitted=frozenset({"33333"}))
    assert read_seen(first.folder) == found
    tune_folder(first.folder, mesh=mesh, documents=named("33333", "44444"), seen=named("11111"))
    assert read_seen(first.folder) == found | Seen(fitted=frozenset({"44444"}))
    further, logged = trained(
        tmp_path, "further", encoder="first", learned=named("55555"), dev=named("11111", "33333", "55555", split="dev")
    )
    assert "2 of 3 documents of dev are passed over: the model or an ancestor is trained on them" in logged
    assert len(further.dev_f1) == 2
    every = Seen(trained=frozenset({"11111", "22222", "55555"}), fitted=frozenset({"33333", "44444"}))
    assert read_seen(further.folder) == every
    last, logged = trained(tmp_path, "last", encoder="further", learned=named("6"), dev=named("22222", split="dev"))
    assert "no epoch is chosen: the last one is kept" in logged
    assert last.dev_f1 == ()
    average([first.folder, last.folder], tmp_path / "mean")
    learned = every | Seen(trained=frozenset({"6 " + identity(named("6")[0]).split()[1]}))
    assert read_seen(tmp_path / "mean") == learned
    with pytest.raises(FileError, match="was trained on 1 of 2 documents to fit on, such as 11111; name others"):
        tune_folder(last.folder, mesh=mesh, documents=named("11111", "77777"), seen=[])


def test_what_a_model_without_a_list_has_seen_is_unknown_to_its_descendants_too(tmp_path: Path) -> None:
    tiny.save_training(tmp_path)
    assert read_seen(tmp_path / "encoder") == Seen()
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "unknown")
    assert read_seen(tmp_path / "unknown") is None
    heir, logged = trained(tmp_path, "heir", encoder="unknown", learned=named("11111"), dev=[])
    assert logged[0] == (
        "encoder unknown: no list of the documents it has seen; the new model has none either, so the gate will "
        "refuse it"
    )
    assert read_seen(heir.folder) is None
    assert union([Seen(), None]) is None
    write_seen(tmp_path / "encoder", Seen())
    add_seen(tmp_path / "encoder", None)
    assert not (tmp_path / "encoder" / "seen.json").exists()
    (tmp_path / "unknown" / "seen.json").write_text("[]")
    with pytest.raises(RecipeError, match=r"seen\.json: is not a valid list of documents; restore it with its model"):
        trained(tmp_path, "none", encoder="unknown", learned=named("11111"), dev=[])


def test_the_bundled_model_has_its_list() -> None:
    found = read_seen(MODEL)
    assert found is not None
    assert (len(found.trained), len(found.fitted)) == (12943, 600)  # NCBI and BC5CDR, more chemicals; the dev of both
    assert found.fitted < found.trained
    assert "8528200" in found.trained


@pytest.mark.parametrize(
    ("threshold", "allowed"),
    [
        (0.99, (0.97069, 0.98201, 0.98901, 0.99331, 0.99593)),
        (0.0, (0.0, 0.26894, 0.37754)),
        (1.0, (0.99966, 0.9998, 0.99988)),
    ],
)
def test_a_threshold_moves_within_bounds(threshold: float, allowed: tuple[float, ...]) -> None:
    assert thresholds_near(threshold) == allowed

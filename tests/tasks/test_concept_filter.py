"""The concept filter: filtering stored mentions gives the same as linking with the filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2emern.flows.annotate import annotate_sources
from e2emern.model.document import Mention, Sentence, Text
from e2emern.model.inference.cascade import Cascade
from e2emern.tasks.concept_filter import keep_links, read_selection, select_concepts
from e2emern.tasks.errors import InputError
from e2emern.tasks.export import read_annotated
from e2emern.tasks.models import load
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.sql import query
from tests.flows.world import TEXTS, World, write_sources

SENTENCES = [*TEXTS, "The patients had severe breast and colon cancer.", "Aspirin caused breast and ovarian cancer."]


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load(world.model, world.mesh, home=Home(tmp_path_factory.mktemp("home")), device="cpu")


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("concepts")
    write_sources(folder / "in")
    annotate_sources([folder / "in"], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    return Home(folder / "home")


def listed(folder: Path, *lines: str) -> Path:
    path = folder / "ids.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def mention(start: int, mesh_id: str | None, **scores: Any) -> Mention:
    return Mention(start, start + 4, "gout", "Disease", 0, 0.9, mesh_id, mesh_id, **scores)


@pytest.mark.parametrize(
    "choice",
    [
        {"branches": ["C04"]},
        {"branches": ["C04.588.274", "D02"]},
        {"allow": ["D001"]},
        {"branches": ["C04"], "allow": ["C007"], "deny": ["D002"]},
        {"deny": ["D001", "D006"]},
        {},
    ],
)
def test_kept_links_are_those_of_linking_under_the_choice(cascade: Cascade, choice: dict[str, list[str]]) -> None:
    texts = [Text((Sentence(0, len(text), text),)) for text in SENTENCES]
    words = "breast and colon cancer"
    start = SENTENCES[-2].index(words)
    given = [[] for _ in SENTENCES[:-2]], [[(start, start + len(words), "Disease")]], [[]]
    selection = cascade.vocabulary.select(**choice)
    selected = {one.mesh_id for one, chosen in zip(cascade.vocabulary.concepts, selection, strict=True) if chosen}
    for spans in (None, [each for part in given for each in part]):  # found, and one of two concepts that is given
        stored, _ = cascade.annotate(texts, given=spans)
        cascade.selection = selection
        try:
            linked, _ = cascade.annotate(texts, given=spans)
        finally:
            cascade.selection = None
        assert [keep_links(mentions, selected) for mentions in stored] == linked


def test_words_without_a_selected_concept_keep_one_mention() -> None:
    scores = {"mid_score": 0.5, "high_score": 0.5, "link_score": 0.75, "how": "name"}
    stored = [
        mention(0, "D1", **scores), mention(0, "D2", **scores), mention(10, "D2", **scores),
        mention(10, "D3", **scores), mention(20, None), mention(30, "D1", **scores),
    ]  # fmt: skip
    assert keep_links(stored, {"D1"}) == [
        mention(0, "D1", **scores), mention(10, None), mention(20, None), mention(30, "D1", **scores),
    ]  # fmt: skip


def test_an_export_of_a_branch_has_all_concepts_below_it(home: Home) -> None:
    selected = read_selection(home, branches=["C04"])
    under = query(home, "SELECT mesh_id FROM entity_tree WHERE ancestor_id = 'D009369'").to_pylist()
    assert selected == {row["mesh_id"] for row in under} == {"D001", "D002", "D009369"}
    found = [one for _, mentions in read_annotated(home, selected=selected) for one in mentions]
    every = [one for _, mentions in read_annotated(home) for one in mentions]
    assert len(found) == len(every)
    assert [one.mesh_id for one in found] == [one.mesh_id if one.mesh_id in selected else None for one in every]
    assert {one.mesh_id for one in found} == {"D001", "D002", None}


def test_lists_of_ids_have_one_a_line(cascade: Cascade, tmp_path: Path) -> None:
    allow = listed(tmp_path, "# tumours", "D001  Breast Neoplasms", "", "MESH:D002")
    chosen = select_concepts(cascade.vocabulary, allow=allow)
    assert [cascade.vocabulary.concepts[at].mesh_id for at in chosen.nonzero()[0]] == ["D001", "D002"]
    allow.write_bytes("\ufeffD001\r\n# breast\u2028D006\r\nMESH:D002\r\n".encode())
    assert (select_concepts(cascade.vocabulary, allow=allow) == chosen).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"D999\n", "D999: no such concept in MeSH tiny"), (b"\xff\n", "ids.txt: expected ids in UTF-8, one per line")],
)
def test_a_list_that_cannot_be_used_is_reported(cascade: Cascade, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        select_concepts(cascade.vocabulary, deny=tmp_path / "ids.txt")


def test_nothing_is_selected_of_a_home_without_a_snapshot(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        read_selection(Home(tmp_path), branches=["C04"])

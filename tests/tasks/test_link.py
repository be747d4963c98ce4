"""Spans that stand in a PubTator file get the concepts that the model gives them, and all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.inference.cascade import Cascade
from tasks.errors import InputError
from tasks.link import LinkCounts, link_file
from tasks.models import load
from tasks.parsers.records import Failure
from tests.flows.world import World
from warehouse.layout import Home

GIVEN = """\
1|t|The patients had severe breast cancer.
1|a|Colon cancer was treated with cisplatin.
1\t24\t37\tbreast cancer\tDisease\tMESH:D999
1\t39\t51\tColon cancer\tDisease
1\t39\t44\tColon\tOrgan\tUBERON:0001155
1\t69\t78\tcisplatin\tChemical\t-

2|t|Headache.
2|a|
2\t0\t8\tMigraine\tDisease\tMESH:D008881

3|t|No patients with rash.
not a line

4|t|Severe breast and colon cancer.
4|a|
4\t7\t30\tbreast and colon cancer\tDisease\tMESH:D001943|MESH:D003110
"""

WRITTEN = """\
1|t|The patients had severe breast cancer.
1|a|Colon cancer was treated with cisplatin.
1\t24\t37\tbreast cancer\tDisease\tMESH:D001
1\t39\t51\tColon cancer\tDisease\tMESH:D002
1\t39\t44\tColon\tOrgan\tUBERON:0001155
1\t69\t78\tcisplatin\tChemical\tMESH:C007

2|t|Headache.
2|a|

4|t|Severe breast and colon cancer.
4|a|
4\t7\t30\tbreast and colon cancer\tDisease\tMESH:D001|MESH:D002

"""


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load(world.model, world.mesh, home=Home(tmp_path_factory.mktemp("home")), device="cpu")


def test_ids_are_replaced_and_faults_told(cascade: Cascade, tmp_path: Path) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "new" / "linked.PubTator"
    given.write_text(GIVEN, encoding="utf-8")
    told: list[Failure] = []
    counts = link_file(given, output, cascade=cascade, tell=told.append)
    assert output.read_text(encoding="utf-8") == WRITTEN
    assert counts == LinkCounts(documents=3, mentions=4, linked=4, failures=2)
    assert [(failure.document_id, failure.reason) for failure in told] == [
        ("2", "annotation: found 'Headache' at 0-8, expected 'Migraine'"),
        ("3", "line of 'not a line' in document 3"),
    ]
    assert [path.name for path in output.parent.iterdir()] == ["linked.PubTator"]


def test_what_is_not_selected_has_no_id(cascade: Cascade, tmp_path: Path) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "linked.PubTator"
    given.write_text(GIVEN.split("\n\n", maxsplit=1)[0] + "\n", encoding="utf-8")
    cascade.selection = cascade.vocabulary.select(deny=["D001"])
    try:
        counts = link_file(given, output, cascade=cascade)
    finally:
        cascade.selection = None
    assert counts == LinkCounts(documents=1, mentions=3, linked=2)
    assert "1\t24\t37\tbreast cancer\tDisease\t-\n" in output.read_text(encoding="utf-8")


def test_a_document_that_the_model_cannot_read_is_told(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "linked.PubTator"
    given.write_text(GIVEN, encoding="utf-8")
    find_spans = cascade.find_spans

    def fail(texts, **options):  # type: ignore[no-untyped-def]
        if any("breast and" in sentence.text for text in texts for sentence in text.sentences):
            raise RuntimeError("too odd")
        return find_spans(texts, **options)

    monkeypatch.setattr(cascade, "find_spans", fail)
    told: list[Failure] = []
    counts = link_file(given, output, cascade=cascade, tell=told.append)
    assert (counts.documents, counts.linked, counts.failures) == (3, 3, 3)
    assert told[-1] == Failure(3, "text", "model: RuntimeError: too odd", "4")
    kept = "4\t7\t30\tbreast and colon cancer\tDisease\tMESH:D001943|MESH:D003110\n\n"
    assert output.read_text(encoding="utf-8").endswith(kept)


def test_a_lost_device_ends_it_and_nothing_is_written(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "linked.PubTator"
    given.write_text(GIVEN, encoding="utf-8")

    def lost(texts: object, **options: object) -> None:
        raise torch.AcceleratorError("the device is lost")

    monkeypatch.setattr(cascade, "find_spans", lost)
    with pytest.raises(torch.AcceleratorError):
        link_file(given, output, cascade=cascade)
    assert not output.exists()


def test_the_input_is_never_overwritten(cascade: Cascade, tmp_path: Path) -> None:
    given = tmp_path / "given.PubTator"
    given.write_text(GIVEN, encoding="utf-8")
    with pytest.raises(InputError, match="is a folder, expected a file to write to"):
        link_file(given, tmp_path, cascade=cascade)
    with pytest.raises(InputError, match="is the input itself"):
        link_file(given, given, cascade=cascade)
    assert given.read_text(encoding="utf-8") == GIVEN

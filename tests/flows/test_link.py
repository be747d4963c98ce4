"""`e2emern link` as a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.command import run
from tests.flows.world import World

GIVEN = "1|t|Aspirin caused renal failure.\n1|a|\n1\t0\t7\tAspirin\tChemical\n1\t15\t28\trenal failure\tDisease\n"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given.PubTator"
    path.write_text(GIVEN + "\n2|t|Rash.\nx\n", encoding="utf-8")
    return path


def options(world: World, folder: Path) -> list[object]:
    places: list[object] = ["--output", folder / "linked.PubTator", "--home", folder / "home"]
    return [*places, "--model", world.model, "--mesh", world.mesh, "--device", "cpu"]


def test_a_file_is_linked_and_bad_records_are_reported(world: World, given: Path, tmp_path: Path) -> None:
    deny = tmp_path / "deny.txt"
    deny.write_text("# never\nD006  aspirin\n", encoding="utf-8")
    ended = run("link", given, *options(world, tmp_path), "--deny", deny)
    assert ended.returncode == 0
    assert ended.stderr.splitlines() == [
        f"e2emern: wrote 2 documents to {tmp_path / 'linked.PubTator'}: 1 of 2 mentions linked, 0 failures",
        "e2emern: 1 invalid annotation: 1 not a line of the format",
        "e2emern: for example, line 7: found 'x', expected text, annotation or relation",
    ]
    assert (tmp_path / "linked.PubTator").read_text(encoding="utf-8") == (
        "1|t|Aspirin caused renal failure.\n1|a|\n"
        "1\t0\t7\tAspirin\tChemical\t-\n1\t15\t28\trenal failure\tDisease\tMESH:D004\n\n2|t|Rash.\nx\n"
    )


def test_skipped_annotations_are_counted_with_at_most_ten_examples(world: World, tmp_path: Path) -> None:
    path = tmp_path / "given.PubTator"
    outside = "".join(f"1\t{at}\t{at + 4}\tgout\tDisease\tD1\n" for at in range(5000, 5012))
    others = "1\t0\t7\tAspirin\tGene\t1\n1\t0\t7\tAspirin\tGene\t1\n1\t28\t29\t.\tDisease\tD1\n"
    path.write_text(GIVEN + others + outside, encoding="utf-8")
    ended = run("link", path, *options(world, tmp_path))
    reported = ended.stderr.splitlines()
    assert ended.returncode == 0
    assert reported[:3] == [
        f"e2emern: wrote 1 document to {tmp_path / 'linked.PubTator'}: 2 of 2 mentions linked, 0 failures",
        "e2emern: passed over: 2 Gene, 1 without a letter or digit",
        "e2emern: 12 invalid annotations: 12 outside the text",
    ]
    assert reported[3] == ("e2emern: for example, line 8: 'gout' at 5000-5004 lies outside the text of 0-30")
    assert len(reported) == 13
    assert (tmp_path / "linked.PubTator").read_text(encoding="utf-8").endswith(others + outside)


def test_a_file_of_other_types_is_an_error(world: World, tmp_path: Path) -> None:
    path = tmp_path / "genes.PubTator"
    path.write_text("1|t|TP53.\n1|a|\n1\t0\t4\tTP53\tGene\t7157\n", encoding="utf-8")
    ended = run("link", path, *options(world, tmp_path))
    expected = "0 of 1 annotation usable: found 1 Gene, expected Disease or Chemical in any known spelling"
    assert (ended.returncode, ended.stderr) == (1, f"e2emern: {path}: {expected}\n")
    assert not (tmp_path / "linked.PubTator").exists()


@pytest.mark.parametrize(
    ("extra", "reported"),
    [
        (["--branch", "C99"], "C99: no concept of MeSH tiny has such a tree number"),
        (["--deny", "none.txt"], "none.txt: No such file or directory"),
    ],
)
def test_errors_are_one_line(world: World, given: Path, tmp_path: Path, extra: list[str], reported: str) -> None:
    ended = run("link", given, *options(world, tmp_path), *extra)
    assert (ended.returncode, ended.stderr) == (1, f"e2emern: {reported}\n")
    assert not (tmp_path / "linked.PubTator").exists()

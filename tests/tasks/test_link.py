"""Spans of a PubTator file get the concepts of the model, and everything else is unchanged."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
import torch

from e2emern.model.inference.cascade import Cascade
from e2emern.tasks.errors import InputError
from e2emern.tasks.link import LinkCounts, link_file
from e2emern.tasks.models import load
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.passed_over import PassedOver
from e2emern.warehouse.layout import Home
from tests.flows.world import World

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

3	not a title

4|t|Severe breast and colon cancer.
4|a|
4\t7\t30\tbreast and colon cancer\tDisease\tMESH:D001943|MESH:D003110
"""

WRITTEN = (
    GIVEN.replace("MESH:D999", "MESH:D001")
    .replace("Colon cancer\tDisease", "Colon cancer\tDisease\tMESH:D002")
    .replace("Chemical\t-", "Chemical\tMESH:C007")
    .replace("MESH:D001943|MESH:D003110", "MESH:D001|MESH:D002")
)


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load(world.model, world.mesh, home=Home(tmp_path_factory.mktemp("home")), device="cpu")


def linked(cascade: Cascade, folder: Path, given: bytes) -> tuple[bytes, LinkCounts]:
    """The output of `link_file` for a file, and its counts."""
    path, output = folder / "given.PubTator", folder / "linked.PubTator"
    path.write_bytes(given)
    counts = link_file(path, output, cascade=cascade)
    return output.read_bytes(), counts


def test_ids_are_replaced_and_faults_reported(cascade: Cascade, tmp_path: Path) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "new" / "linked.PubTator"
    given.write_text(GIVEN, encoding="utf-8")
    failures: list[Failure] = []
    counts = link_file(given, output, cascade=cascade, log=failures.append)
    assert output.read_text(encoding="utf-8") == WRITTEN
    passed_over = PassedOver(
        used=4,
        types=Counter({"Organ": 1}),
        invalid=Counter({"other words at its offsets": 1}),
        examples=["line 10: found 'Headache' at 0-8, expected 'Migraine'"],
    )
    assert counts == LinkCounts(documents=3, mentions=4, linked=4, failures=1, passed_over=passed_over)
    assert [(failure.document_id, failure.reason) for failure in failures] == [
        ("3", "found '3\\tnot a title', expected a line such as 'id|t|title' first")
    ]
    assert [path.name for path in output.parent.iterdir()] == ["linked.PubTator"]


def test_unselected_concepts_are_not_linked(cascade: Cascade, tmp_path: Path) -> None:
    given, output = tmp_path / "given.PubTator", tmp_path / "linked.PubTator"
    given.write_text(GIVEN.split("\n\n", maxsplit=1)[0] + "\n", encoding="utf-8")
    cascade.selection = cascade.vocabulary.select(deny=["D001"])
    try:
        counts = link_file(given, output, cascade=cascade)
    finally:
        cascade.selection = None
    assert (counts.documents, counts.mentions, counts.linked, counts.failures) == (1, 3, 2, 0)
    assert "1\t24\t37\tbreast cancer\tDisease\t-\n" in output.read_text(encoding="utf-8")


OTHERS = (
    "\n\n9|t|Aspirin in breast cancer. \r\n"
    "9|a|Colon cancer was treated (again)\u00a0with cisplatin.  \r\n"
    "9\t0\t7\tAspirin\tGene\t21929,7128\r\n"
    "9\t0\t7\tAspirin\tGene\t1234;5678\t0.95\r\n"
    "9\t26\t31\tColon\tDNAMutation\tg|SUB|T|7488|C\tRSID:763780\r\n"
    "9\t26\t31\tColon\t Species \t9606\textra\tmore\r\n"
    "9\t26\t31\tColon\tX\tMESH: D001943\r\n"
    "9\t26\t31\tColon\tY\n"
    "9\t51\t52\t(\tDisease\tMESH:D010024\r\n"
    "9\tCID\tD001241\tD001943\r\n"
    " \r\n"
    "\r\n"
    "9|t|Rash.\n9|a|\n9\t0\t4\tRash\tX\tMESH: D1\t"
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_the_identifiers_of_our_mentions_change(cascade: Cascade, tmp_path: Path, end: str) -> None:
    ours = "9\t11\t24\tbreast cancer\tSpecificDisease\t{first}\tparts\t{score}9\t64\t73\tcisplatin\tDRUG{second}"
    ours = ours.replace("{score}", f"0.5{end}") + end
    given = OTHERS.replace("9\tCID", ours + "9\tCID")
    given_bytes = given.replace("{first}", "mesh:D006073*").replace("{second}", "").encode()
    expected = given.replace("{first}", "MESH:D001").replace("{second}", "\tMESH:C007").encode()
    found, counts = linked(cascade, tmp_path, given_bytes)
    assert found == expected
    assert (counts.documents, counts.mentions, counts.linked, counts.failures) == (2, 2, 2, 0)
    assert counts.passed_over.wordless == 1
    assert counts.passed_over.types == {"Gene": 2, "X": 2, "DNAMutation": 1, "Species": 1, "Y": 1}
    packed = tmp_path / "given.gz"
    packed.write_bytes(gzip.compress(given_bytes))
    link_file(packed, tmp_path / "unpacked.PubTator", cascade=cascade)
    assert (tmp_path / "unpacked.PubTator").read_bytes() == expected


def test_a_line_in_which_another_document_begins_is_unchanged(cascade: Cascade, tmp_path: Path) -> None:
    one = "1|t|Breast cancer.\n1|a|Aspirin.\n1\t0\t13\tBreast cancer\tDisease\tD9\n1\t15\t22\tAspirin\tChemical\tD8"
    two = "2|t|Rash.\n2|a|\n"
    found, counts = linked(cascade, tmp_path, (one + two).encode())
    assert found.decode() == one.replace("\tD9", "\tMESH:D001") + two
    assert counts.passed_over.invalid == {"not on a line of its own": 1}
    assert counts.passed_over.examples == ["line 4: 'Aspirin' shares its line with other text"]


def test_bytes_that_are_not_utf8_are_kept(cascade: Cascade, tmp_path: Path) -> None:
    """An annotation may share its line with the title of another document, of any encoding."""
    given = b"1|t|Rash.\n1|a|Pain.\n1\t0\t4\tRash\tDisease\tD92|t|Sj\xf6gren.\n2|a|Pain.\n2\t0\t4\tPain\tDisease\tD9\n"
    given += b"3|t|Breast cancer.\n3|a|\n3\t0\t13\tBreast cancer\tDisease\tMESH:D001\n"
    found, counts = linked(cascade, tmp_path, given)
    assert found == given
    assert (counts.documents, counts.mentions, counts.failures) == (2, 1, 1)


def test_files_of_many_documents_are_copied_in_order(cascade: Cascade, tmp_path: Path) -> None:
    one = "{n}|t|Breast cancer.\n{n}|a|\n{n}\t0\t13\tBreast cancer\tdisease\t\n\n"
    two = "{n}|t|Nothing {n}.\n{n}|a|\n\n"
    given = "".join((one if n % 3 else two).format(n=n) for n in range(1, 301))
    found, counts = linked(cascade, tmp_path, given.encode())
    assert found.decode() == given.replace("\tdisease\t\n", "\tdisease\tMESH:D001\n")
    assert (counts.documents, counts.mentions, counts.linked) == (300, 200, 200)


@pytest.mark.parametrize(("disease", "chemical"), [
    ("SpecificDisease", "Chemical"), ("DiseaseOrPhenotypicFeature", "ChemicalEntity"), ("DISEASE", "CHEMICAL"),
    ("modifier", "drug"), ("disease_class", "Chemical Entity"),
])  # fmt: skip
def test_types_may_be_spelt_in_many_ways(cascade: Cascade, tmp_path: Path, disease: str, chemical: str) -> None:
    given = "9|t|Breast cancer and cisplatin.\n9|a|\n" + (
        f"9\t0\t13\tBreast cancer\t{disease}\tD9\n9\t18\t27\tcisplatin\t{chemical}\tD9\n"
    )
    found, counts = linked(cascade, tmp_path, given.encode())
    assert [line.split("\t")[5] for line in found.decode().splitlines()[2:]] == ["MESH:D001", "MESH:C007"]
    assert (counts.mentions, counts.passed_over.summary()) == (2, None)


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ("", "0 of 0 annotations usable: found none, expected Disease or Chemical in any known spelling"),
        (
            "9\t0\t4\tRash\tGene\t1\n9\t0\t4\tRash\tGene\t1\n9\t0\t4\tRash\tSpecies\t1\n",
            "0 of 3 annotations usable: found 2 Gene, 1 Species, expected Disease or Chemical in any known spelling",
        ),
    ],
)
def test_a_file_of_other_types_is_an_error(cascade: Cascade, tmp_path: Path, annotations: str, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        linked(cascade, tmp_path, f"9|t|Rash.\n9|a|\n{annotations}".encode())
    assert str(raised.value) == f"{tmp_path / 'given.PubTator'}: {reason}"
    assert not (tmp_path / "linked.PubTator").exists()


@pytest.mark.parametrize("words", ["(", ". ", " "])
def test_a_mention_without_a_letter_or_digit_is_skipped(cascade: Cascade, tmp_path: Path, words: str) -> None:
    given = f"9|t|Rash{words}x.\n9|a|\n9\t4\t{4 + len(words)}\t{words}\tDisease\tD1\n".encode()
    found, counts = linked(cascade, tmp_path, given)
    assert found == given
    assert (counts.mentions, counts.passed_over.summary()) == (0, "passed over: 1 without a letter or digit")


def test_a_document_that_the_model_cannot_read_is_reported(
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
    failures: list[Failure] = []
    counts = link_file(given, output, cascade=cascade, log=failures.append)
    assert (counts.documents, counts.linked, counts.failures) == (3, 3, 2)
    assert failures[-1] == Failure(3, "text", "model: RuntimeError: too odd", "4")
    kept = "4\t7\t30\tbreast and colon cancer\tDisease\tMESH:D001943|MESH:D003110\n"
    assert output.read_text(encoding="utf-8").endswith(kept)


def test_a_lost_device_stops_linking_and_nothing_is_written(
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


@pytest.mark.parametrize(
    ("name", "mentions", "wordless"),
    [
        ("ln_types_ncbi.PubTator", 3, 0),
        ("ln_types_biored.PubTator", 3, 0),
        ("ln_types_upper.PubTator", 3, 0),
        ("ln_empty_mention_text.PubTator", 0, 3),
        ("ln_others.PubTator", 1, 0),
    ],
)
def test_reported_files_are_linked(
    cascade: Cascade, tmp_path: Path, shared_cases: Path, name: str, mentions: int, wordless: int
) -> None:
    given = (shared_cases / name).read_bytes()
    found, counts = linked(cascade, tmp_path, given)
    assert (counts.documents, counts.mentions, counts.passed_over.wordless) == (1, mentions, wordless)
    changed = [
        (before.split(b"\t"), after.split(b"\t"))
        for before, after in zip(given.splitlines(), found.splitlines(), strict=True)
        if before != after
    ]
    assert all(before[:5] == after[:5] and before[6:] == after[6:] for before, after in changed)
    assert len(changed) <= mentions

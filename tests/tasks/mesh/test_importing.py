"""Sources of MeSH become one version: rows, failures, joins, limits."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.mesh.importing import Imported, import_mesh
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from tests.conftest import ROOT
from tests.tasks.mesh.files import descriptor, descriptors, medic, supplementary, supplements, write_supplementary

DESC = descriptors(
    descriptor("D009369", "Neoplasms", ["C04"], ("Tumors", "N"), ("TUMORS", "N"), ("Tumors, Malignant", "Y")),
    descriptor("D001943", "Breast Neoplasms", ["C17.800.090", "C04.588.180"], ("Neoplasms, Breast", "Y"),
               ("Breast Cancer", "N")),
    descriptor("D011618", "Psychotic Disorders", ["F03.700"]),
    descriptor("D001241", "Aspirin", ["D02.455"]),
    descriptor("D004777", "Environment", ["G16.500"]),
)  # fmt: skip
SUPP = supplements(
    supplementary("C000001", "aspirin lysine", ["*D001241"], ("Aspegic", "N")),
    supplementary("C562840", "Breast Cancer, Familial", ["*D001943"], scr_class="3", note="A & b. OMIM: 114480"),
    supplementary("C000002", "ABC protocol", ["D001241", "*D004777"], scr_class="2"),
    supplementary("C000003", "XYZ diet", ["*D004777"], scr_class="2"),
    supplementary("C000004", "Some bacterium", ["*D001241"], scr_class="4"),
)  # fmt: skip


def imported(folder: Path, **files: str) -> tuple[Imported, dict[str, dict[str, object]]]:
    """The result of importing files with these contents into a home, and the rows of its entities by id."""
    paths = []
    for name, content in files.items():
        paths.append(folder / name)
        paths[-1].write_text(content)
    home = Home(folder / "home")
    result = import_mesh(paths, version="2026", home=home)
    return result, {row["mesh_id"]: row for row in pq.read_table(home.entities("2026")).to_pylist()}


def test_descriptors_and_supplementary_records(tmp_path: Path) -> None:
    result, found = imported(tmp_path, supp=SUPP, desc=DESC)  # in any order
    assert result == Imported(mesh_version="2026", read=10, concepts=7, names=12, left_out=3)
    assert list(found) == ["C000001", "C000002", "C562840", "D001241", "D001943", "D009369", "D011618"]
    assert found["D009369"] == {
        "mesh_id": "D009369",
        "name": "Neoplasms",
        "names": ["Neoplasms", "Tumors", "Tumors, Malignant"],
        "name_kinds": ["preferred", "entry", "permuted"],
        "entity_type": "Disease",
        "tree_numbers": ["C04"],
        "record_type": "descriptor",
        "mapped_to": [],
        "aliases": [],
        "mesh_version": "2026",
    }
    assert found["D001943"]["names"] == ["Breast Neoplasms", "Breast Cancer", "Neoplasms, Breast"]
    assert found["D001943"]["tree_numbers"] == ["C04.588.180", "C17.800.090"]
    assert found["C562840"] | {"names": []} == {
        "mesh_id": "C562840",
        "name": "Breast Cancer, Familial",
        "names": [],
        "name_kinds": ["preferred"],
        "entity_type": "Disease",
        "tree_numbers": [],
        "record_type": "supplementary",
        "mapped_to": ["D001943"],
        "aliases": ["114480"],
        "mesh_version": "2026",
    }
    types = {mesh_id: row["entity_type"] for mesh_id, row in found.items()}
    assert types["D011618"] == "Disease"
    assert (types["D001241"], types["C000001"], types["C000002"]) == ("Chemical", "Chemical", "Chemical")
    tree = pq.read_table(tmp_path / "home" / "entities" / "2026~tree.parquet").to_pylist()
    assert {"mesh_id": "C562840", "ancestor_id": "D009369"} in tree


def test_medic_adds_names_and_ids_to_mesh_and_brings_concepts_of_its_own(tmp_path: Path) -> None:
    ctd = medic(
        ("Diseases", "MESH:C", "", "", "", "C"),
        ("Breast tumor", "MESH:D001943", "DO:DOID:1612|OMIM:114480", "", "MESH:D009369", "C04.1", "C04",
         "Breast Cancer|Mammary cancer"),
        ("AARSKOG SYNDROME", "OMIM:100050", "", "", "MESH:D001943|MESH:C", "C04.588.180/100050", "", "AAS"),
        ("Rare cancer", "MESH:C538231", "", "", "MESH:D001943", "C04.588.180/C538231", "C04.588.180"),
    )  # fmt: skip
    result, found = imported(tmp_path, medic=ctd, desc=DESC)
    assert result == Imported(mesh_version="2026", read=9, concepts=6, names=13, joined=1, left_out=2)
    breast = found["D001943"]
    assert breast["names"] == [
        "Breast Neoplasms",
        "Breast Cancer",
        "Breast tumor",
        "Mammary cancer",
        "Neoplasms, Breast",
    ]
    assert breast["name_kinds"] == ["preferred", "entry", "entry", "entry", "permuted"]
    assert breast["aliases"] == ["114480", "DOID:1612"]
    assert breast["tree_numbers"] == ["C04.588.180", "C17.800.090"]  # those of NLM
    aarskog = found["100050"]
    assert (aarskog["record_type"], aarskog["mapped_to"], aarskog["names"]) == (
        "omim",
        ["D001943"],
        ["AARSKOG SYNDROME", "AAS"],
    )
    assert (found["C538231"]["record_type"], found["C538231"]["tree_numbers"]) == ("supplementary", [])


def test_bad_records_are_failures_and_the_others_are_imported(tmp_path: Path) -> None:
    desc = descriptors(
        descriptor("D000001", "One", ["C01"]),
        descriptor("X1", "Two", ["C02"]),
        descriptor("D000003", "", ["C03"]),
        descriptor("D000004", "Four", ["C4x"]),
        descriptor("D000001", "Again", ["C05"]),
        descriptor("", "Six", ["C06"]),
    )
    supp = supplements(
        supplementary("C000001", "protocol", ["D000009"], scr_class="2"),
        supplementary("C000002", "two", ["D1"]),
    )
    ctd = medic(("Name", "D000001", "", "", "", "", "", "", "", "more"), ("Pain", "MESH:Q1"))
    ctd += "Cut\tMESH:D000007\t\t\t\tC01.1"
    compact = tmp_path / "compact"
    compact.mkdir()
    (compact / "names.tsv").write_text(
        "mesh_id\tentity_type\tpreferred\tname\nD000001\tChemical\t1\tOne\nC9\tDisease\t0\tx\nC8\tGene\t1\ty\n"
    )
    (compact / "records.tsv").write_text(
        "mesh_id\trecord_type\ttree_numbers\tmapped_to\nD7\tdescriptor\t\t\nC9\tomim\t\t\nC9\tomim\t\t\n"
    )
    (compact / "aliases.tsv").write_text("alias\tmesh_id\n100\tD7\n")
    paths = [compact]
    for name, content in (("desc.xml", desc), ("supp.xml", supp), ("ctd.tsv", ctd)):
        paths.append(tmp_path / name)
        paths[-1].write_text(content)
    home = Home(tmp_path / "home")
    result = import_mesh(paths, version="v", home=home)
    assert result == Imported(
        mesh_version="v",
        read=17,
        concepts=1,
        names=1,
        failed=16,
        failures=tmp_path / "home/entities/v~failures.parquet",
    )
    failures = pq.read_table(home.entity_failures("v")).to_pylist()
    assert [(row["source"], row["record"], row["position"], row["document_id"], row["reason"]) for row in failures] == [
        ("desc.xml", 1, "line 4", "X1", "identifier 'X1', expected one such as D000001"),
        ("desc.xml", 2, "line 5", "D000003", "no preferred name"),
        ("desc.xml", 3, "line 6", "D000004", "tree number 'C4x', expected one such as C04.588"),
        ("desc.xml", 5, "line 8", None, "no identifier"),
        ("supp.xml", 0, "line 3", "C000001",
         "mapped to D000009, which no source has; also import the descriptors of its year"),
        ("supp.xml", 1, "line 5", "C000002", "identifier 'D1', expected one such as D000001"),
        ("ctd.tsv", 0, "line 5", "D000001", "found 10 cells, expected 9"),
        ("ctd.tsv", 1, "line 6", "MESH:Q1", "DiseaseID 'MESH:Q1', expected one such as MESH:D000001 or OMIM:100100"),
        ("ctd.tsv", 2, "line 7", "MESH:D000007", "found 6 cells, expected 9"),
        ("compact", 0, "names, line 4", "C8", "entity_type Gene; expected either Disease or Chemical"),
        ("compact", 1, "names, line 3", "C9", "no preferred name; mark one with preferred = 1"),
        ("compact", 3, "records, line 2", "D7", "no names have this identifier"),
        ("compact", 4, "records, line 4", "C9", "duplicate; the one at line 3 is used"),
        ("compact", 5, "aliases, line 2", "D7", "no names have this identifier"),
        ("desc.xml", 4, "line 7", "D000001", "duplicate; the one at line 3 is used"),
        ("compact", 2, "names, line 2", "D000001", "Chemical, but Disease in desc.xml"),
    ]  # fmt: skip


def test_compact_tables(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(
        "\ufeffmesh_id\tentity_type\tpreferred\tname\n"
        "D009369\tDisease\t0\tTumors\nD009369\tDisease\t1\tNeoplasms\nD009369\tDisease\t0\tNEOPLASMS\n"
        "C1\tDisease\t1\tRare tumor\n"
    )
    (tmp_path / "records.tsv").write_text(
        "mesh_id\trecord_type\ttree_numbers\tmapped_to\nD009369\tdescriptor\t\t\nC1\tsupplementary\t\tD009369|D2\n"
    )
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\n114480\tC1\n\tC1\n\tD009369\n")
    import_mesh([tmp_path], version="2030", output=tmp_path / "mesh.parquet")
    rows = pq.read_table(tmp_path / "mesh.parquet").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("C1", "Rare tumor", ["Rare tumor"], ["preferred"], "Disease", [], "supplementary", ["D009369", "D2"],
         ["114480"], "2030"),
        ("D009369", "Neoplasms", ["Neoplasms", "Tumors"], ["preferred", "entry"], "Disease", ["C04"], "descriptor", [],
         [], "2030"),  # the number of the root, missing in the records
    ]  # fmt: skip
    (tmp_path / "records.tsv").write_text("mesh_id\tkind\n")
    with pytest.raises(InputError, match="records lacks the columns record_type"):
        import_mesh([tmp_path], version="2030", output=tmp_path / "other.parquet")
    (tmp_path / "aliases.tsv").unlink()
    with pytest.raises(InputError, match=r"found neither aliases.tsv nor aliases.tsv.xz"):
        import_mesh([tmp_path], version="2030", output=tmp_path / "other.parquet")
    (tmp_path / "aliases.tsv.xz").write_bytes(b"\xfd7zXZ")
    (tmp_path / "records.tsv").write_text("mesh_id\trecord_type\n")
    with pytest.raises(SourceError, match=r"aliases.tsv.xz: xz damaged after 0 decompressed bytes"):
        import_mesh([tmp_path], version="2030", output=tmp_path / "other.parquet")


def test_replaced_ids_are_one_concept(tmp_path: Path) -> None:
    """The successor gets names and ids of the concepts that it replaces; a missing successor changes nothing."""
    desc = descriptors(descriptor("D000068698", "Tenofovir", ["D02.705"], ("Viread", "N")))
    supp = supplements(
        supplementary("C096918", "tenofovir", ["D000225"], ("9-PMPA", "N")),
        supplementary("C418563", "tenofovir disoproxil", ["D000225"]),
        supplementary("C000001", "orphan", ["D000225"]),
    )
    table = (
        "old_id\tnew_id\tremark\nC096918\tC418563\tby way of\nC418563\tD000068698\nC000999\tD000068698\n\n"
        "C000001\tD999999\nC096918\tD000002\nC000002\n"
    )
    for name, content in (("desc2026.xml", desc), ("supp2026.xml", supp), ("replaced.tsv", table)):
        (tmp_path / name).write_text(content)
    sources = [tmp_path / name for name in ("replaced.tsv", "supp2026.xml", "desc2026.xml")]
    result = import_mesh(sources, output=tmp_path / "mesh.parquet")
    failures = tmp_path / "mesh.failures.parquet"
    assert result == Imported(
        mesh_version="2026", read=10, concepts=2, names=5, joined=2, failed=3, replaced=3, failures=failures
    )
    rows = pq.read_table(tmp_path / "mesh.parquet").to_pylist()
    assert [(row["mesh_id"], row["names"], row["record_type"], row["aliases"]) for row in rows] == [
        ("D000068698", ["Tenofovir", "Viread", "9-PMPA", "tenofovir disoproxil"], "descriptor",
         ["C000999", "C096918", "C418563"]),
        ("C000001", ["orphan"], "supplementary", []),
    ]  # fmt: skip
    assert [(row["position"], row["document_id"], row["reason"]) for row in pq.read_table(failures).to_pylist()] == [
        ("line 7", "C096918", "duplicate; the one at line 2 is used"),
        ("line 8", "C000002", "expected two different identifiers"),
        ("line 6", "C000001", "no source has its successor D999999"),
    ]


def test_identifiers_of_other_databases_are_not_names(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(
        "mesh_id\tentity_type\tpreferred\tname\n"
        "C1\tChemical\t1\tEDIL3 protein, human\nC1\tChemical\t0\tO43854\nC1\tChemical\t0\tDEL1\n"
        "C2\tChemical\t1\tCHEBI:1\nC2\tChemical\t0\tCHEBI:15365\nC2\tChemical\t0\t2244\n"
        "C2\tChemical\t0\tP12345\nC2\tChemical\t0\t2,4-D\nC2\tChemical\t0\tN:1\n"
        "C2\tChemical\t0\tC86741\nC2\tChemical\t0\tC60\nC2\tChemical\t0\tNot available\n"
    )
    (tmp_path / "records.tsv").write_text("mesh_id\trecord_type\n")
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\n")
    import_mesh([tmp_path], version="2030", output=tmp_path / "mesh.parquet")
    assert [row["names"] for row in pq.read_table(tmp_path / "mesh.parquet").to_pylist()] == [
        ["EDIL3 protein, human", "DEL1"],
        ["CHEBI:1", "P12345", "2,4-D", "N:1", "C60"],  # a preferred name stays; a drug may be called P12345
    ]


def test_organisms_among_the_supplementary_chemicals_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(
        "mesh_id\tentity_type\tpreferred\tname\n"
        "C1\tChemical\t1\tSerratia ficaria\nC1\tChemical\t0\tC86739\n"
        "C2\tChemical\t1\tsevere acute respiratory syndrome coronavirus 2\nC2\tChemical\t0\tC169076\n"
        "C3\tChemical\t1\tpoliovirus receptor\nC3\tChemical\t0\tC118556\n"
        "C4\tChemical\t1\tOreganic acid\nC4\tChemical\t0\tN 1\n"
        "D5\tChemical\t1\tSodium citrate\nD5\tChemical\t0\tC63684\n"
    )
    (tmp_path / "records.tsv").write_text(
        "mesh_id\trecord_type\n" + "".join(f"C{at}\tsupplementary\n" for at in range(1, 5)) + "D5\tdescriptor\n"
    )
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\n")
    imported = import_mesh([tmp_path], version="2030", output=tmp_path / "mesh.parquet")
    kept = [row["mesh_id"] for row in pq.read_table(tmp_path / "mesh.parquet").to_pylist()]
    assert (kept, imported.left_out) == (["C3", "C4", "D5"], 2)


def test_html_entities_in_names_are_unescaped(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(
        "mesh_id\tentity_type\tpreferred\tname\nC1\tDisease\t1\tBanti&apos;s syndrome\n"
        "C1\tDisease\t0\tBanti's syndrome\nC1\tDisease\t0\tsplenomegaly &amp; anemia\n"
    )
    (tmp_path / "records.tsv").write_text("mesh_id\trecord_type\n")
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\n")
    import_mesh([tmp_path], version="2030", output=tmp_path / "mesh.parquet")
    (row,) = pq.read_table(tmp_path / "mesh.parquet").to_pylist()
    assert row["names"] == ["Banti's syndrome", "splenomegaly & anemia"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"alias\tmesh_id\n" + (b" " * 100_000 + b"\tD1\n") * 1100, "refused as a decompression bomb"),
        (b"x" * 300_000, "line 1 is longer than 200,000 bytes; expected a table of alias, mesh_id"),
    ],
    ids=["many lines", "one line"],
)
def test_compact_tables_that_unpack_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.setattr("e2emern.tasks.parsers.source_reader.MAX_LINE", 200_000)
    (tmp_path / "names.tsv").write_text("mesh_id\tentity_type\tpreferred\tname\n")
    (tmp_path / "records.tsv").write_text("mesh_id\trecord_type\n")
    (tmp_path / "aliases.tsv.xz").write_bytes(lzma.compress(content, preset=0))
    with pytest.raises(SourceError, match=message):
        import_mesh([tmp_path], version="v", output=tmp_path / "mesh.parquet")


def test_the_year_of_the_files_names_the_version(tmp_path: Path) -> None:
    desc, supp = tmp_path / "desc2026.xml", tmp_path / "supp2025.xml.gz"
    desc.write_text(DESC)
    supp.write_bytes(gzip.compress(SUPP.encode()))
    home = Home(tmp_path / "home")
    assert import_mesh([desc], home=home).mesh_version == "2026"
    with pytest.raises(
        InputError,
        match=r"found the years 2025, 2026 in the names; name the version \(parameter version, or --version\)",
    ):
        import_mesh([desc, supp], home=home)
    assert import_mesh([desc, supp], version="mixed", home=home).concepts == 7


def test_a_version_never_changes(tmp_path: Path) -> None:
    _, found = imported(tmp_path, desc=DESC)
    assert imported(tmp_path, desc=DESC)[0].unchanged
    with pytest.raises(WarehouseError, match="has a different vocabulary of version 2026; give this one another"):
        imported(tmp_path, desc=DESC.replace("Tumors", "Tumours"))
    assert {row["mesh_id"]: row for row in pq.read_table(tmp_path / "home/entities/2026.parquet").to_pylist()} == found


def test_a_refused_import_keeps_the_failures_of_the_existing_version(tmp_path: Path) -> None:
    failing = DESC.replace("<DescriptorUI>D009369</DescriptorUI>", "<DescriptorUI>no id</DescriptorUI>", 1)
    result, _ = imported(tmp_path, desc=failing)
    assert result.failed == 1
    kept = Home(tmp_path / "home").entity_failures("2026")
    before = kept.read_bytes()
    with pytest.raises(WarehouseError, match="has a different vocabulary of version 2026; give this one another"):
        imported(tmp_path, desc=DESC)
    assert kept.read_bytes() == before


BOMB = gzip.compress(medic().encode() + (b"#" + b" " * 1_000_000 + b"\n") * 110)
ENTITIES = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected NLM's desc or supp XML, CTD_diseases.tsv"),
        (b"plain text", "starts with b'plain text'; expected NLM's desc or supp XML"),
        (b"<PubmedArticleSet/>", "XML with root element <PubmedArticleSet>; expected NLM's desc or supp XML"),
        (DESC.encode()[:-60], "ends early, in line 7 and without </DescriptorRecordSet>; download it again"),
        (gzip.compress(DESC.encode())[:-20], "gzip damaged after [0-9,]+ decompressed bytes"),
        ((ENTITIES + DESC.split("\n", 1)[1]).encode(), "its DTD declares entities; refused as unsafe"),
        (BOMB, "refused as a decompression bomb"),
        (descriptors(descriptor("D004777", "Environment", ["G16"])).encode(), "no disease and no chemical among 1 rec"),
        (b"# DiseaseName\tDiseaseID\n", "lacks the columns AltDiseaseIDs, ParentIDs, Synonyms, TreeNumbers"),
    ],
    ids=["empty", "text", "pubmed", "truncated", "gzip", "entities", "bomb", "nothing", "columns"],
)
def test_damaged_or_hostile_sources_are_refused_entirely(tmp_path: Path, content: bytes, message: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        import_mesh([source], version="v", home=Home(tmp_path / "home"))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("home/entities/*"))


MEASURE = """
import sys
from pathlib import Path
from benchmarks.peak import peak_bytes
from e2emern.tasks.mesh.importing import import_mesh
result = import_mesh([Path(sys.argv[1])], version="v", output=Path(sys.argv[2]))
print(result.concepts, peak_bytes() // 1024**2)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for megabytes in (5, 20):
        path = tmp_path / "supp.xml"
        count = write_supplementary(path, megabytes=megabytes)
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "mesh.parquet")]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        concepts, peak = map(int, ended.stdout.split())
        assert concepts == count
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 48, peaks  # MB: DuckDB sorts what fits in memory; a tree of the file grows by 92


def test_samples_of_nlm(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mesh" / "nlm-xml"
    samples = [folder / "desc-samples.xml", folder / "supp-samples.xml"]
    result = import_mesh(samples, version="samples", output=tmp_path / "mesh.parquet")
    assert (result.read, result.concepts, result.left_out, result.failed) == (62, 33, 28, 1)
    found = {row["mesh_id"]: row for row in pq.read_table(tmp_path / "mesh.parquet").to_pylist()}
    assert found["D000001"]["names"][:2] == ["Calcimycin", "A-23187"]
    assert found["C563013"]["entity_type"] == "Disease"
    failures = pq.read_table(tmp_path / "mesh.failures.parquet").to_pylist()
    assert [row["document_id"] for row in failures] == ["C038409"]  # a protocol whose headings are not in the sample

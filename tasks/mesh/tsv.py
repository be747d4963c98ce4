"""Parse our compact form of MeSH: a folder of three tab-separated tables, .tsv or .tsv.xz, with a header.

`names` (mesh_id, entity_type, preferred, name), `records` (mesh_id, record_type, tree_numbers, mapped_to) and
`aliases` (alias, mesh_id). Several values in one cell are separated by `|`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.mesh.records import (
    DESCRIPTOR,
    ENTRY,
    SUPPLEMENTARY,
    LeftOut,
    MeshConcept,
    MeshRecord,
    checked_tree_numbers,
    is_organism,
    named,
)
from e2emern.tasks.parsers.records import Failure, RecordError
from e2emern.tasks.parsers.source_reader import open_source

_TABLES = ("names", "records", "aliases")
_NAMELESS = "no names have this identifier"

# Roots of the MeSH trees (https://meshb.nlm.nih.gov/treeView), which often lack a number in tables of descriptors.
_ROOTS = {
    "D007239": "C01",  # Infections
    "D009369": "C04",  # Neoplasms
    "D009140": "C05",  # Musculoskeletal Diseases
    "D004066": "C06",  # Digestive System Diseases
    "D009057": "C07",  # Stomatognathic Diseases
    "D012140": "C08",  # Respiratory Tract Diseases
    "D010038": "C09",  # Otorhinolaryngologic Diseases
    "D009422": "C10",  # Nervous System Diseases
    "D005128": "C11",  # Eye Diseases
    "D000091642": "C12",  # Urogenital Diseases
    "D002318": "C14",  # Cardiovascular Diseases
    "D006425": "C15",  # Hemic and Lymphatic Diseases
    "D009358": "C16",  # Congenital, Hereditary, and Neonatal Diseases and Abnormalities
    "D017437": "C17",  # Skin and Connective Tissue Diseases
    "D009750": "C18",  # Nutritional and Metabolic Diseases
    "D004700": "C19",  # Endocrine System Diseases
    "D007154": "C20",  # Immune System Diseases
    "D000820": "C22",  # Animal Diseases
    "D013568": "C23",  # Pathological Conditions, Signs and Symptoms
    "D009784": "C24",  # Occupational Diseases
    "D064419": "C25",  # Chemically-Induced Disorders
    "D014947": "C26",  # Wounds and Injuries
    "D006730": "D06",  # Hormones, Hormone Substitutes, and Hormone Antagonists
    "D001697": "D25",  # Biomedical and Dental Materials
    "D001523": "F03",  # Mental Disorders
}


@dataclass(slots=True)
class _Rows:
    """The rows of the three tables for one concept."""

    line: int  # of its first name
    types: set[str] = field(default_factory=set)
    preferred: str = ""
    names: list[str] = field(default_factory=list)
    record: dict[str, str] = field(default_factory=dict)
    record_line: int = 0
    aliases: list[str] = field(default_factory=list)


def table_files(folder: Path) -> list[Path]:
    """Return the files of the three tables of a folder. Raises InputError if one is missing."""
    return [_file_of(folder, name) for name in _TABLES]


def parse_compact(folder: Path) -> Iterator[MeshRecord]:
    """Yield each concept of a folder, in order of mesh_id. The root of a tree gets its number if `records` lacks it.

    Then yield a Failure for each row of `records` and `aliases` whose id has no names, or has a record already. Raises
    InputError if a table or a column is missing, and SourceError if a table cannot be read.
    """
    concepts: dict[str, _Rows] = {}
    for line, cells in _table(folder, "names", ("mesh_id", "entity_type", "preferred", "name")):
        concept = concepts.setdefault(cells["mesh_id"], _Rows(line))
        concept.types.add(cells["entity_type"])
        concept.names.append(cells["name"])
        if cells["preferred"] == "1":
            concept.preferred = concept.preferred or cells["name"]
    unused: list[tuple[str, str, str]] = []  # place, reason, mesh_id
    for line, cells in _table(folder, "records", ("mesh_id", "record_type")):
        known = concepts.get(cells["mesh_id"])
        if known is None:
            unused.append((f"records, line {line}", _NAMELESS, cells["mesh_id"]))
        elif known.record:
            reason = f"duplicate; the one at line {known.record_line} is used"
            unused.append((f"records, line {line}", reason, cells["mesh_id"]))
        else:
            known.record, known.record_line = cells, line
    for line, cells in _table(folder, "aliases", ("alias", "mesh_id")):
        known = concepts.get(cells["mesh_id"])
        if known is None:
            unused.append((f"aliases, line {line}", _NAMELESS, cells["mesh_id"]))
        elif cells["alias"]:
            known.aliases.append(cells["alias"])
    for record, (mesh_id, concept) in enumerate(sorted(concepts.items())):
        try:
            yield _concept(mesh_id, concept, record)
        except RecordError as error:
            yield Failure(record, f"names, line {concept.line}", str(error), mesh_id[:100] or None)
    for record, (place, reason, mesh_id) in enumerate(unused, start=len(concepts)):
        yield Failure(record, place, reason, mesh_id[:100] or None)


def _concept(mesh_id: str, concept: _Rows, record: int) -> MeshConcept | LeftOut:
    cells = concept.record
    if not mesh_id:
        raise RecordError("no identifier")
    if len(concept.types) > 1 or not concept.types <= {"Disease", "Chemical"}:
        raise RecordError(f"entity_type {', '.join(sorted(concept.types))}; expected either Disease or Chemical")
    if not concept.preferred:
        raise RecordError("no preferred name; mark one with preferred = 1")
    supplementary_chemical = concept.types == {"Chemical"} and cells.get("record_type") == SUPPLEMENTARY
    if supplementary_chemical and is_organism(concept.preferred, concept.names):
        return LeftOut(mesh_id)
    names, kinds = named(concept.preferred, [(name, ENTRY) for name in concept.names])
    return MeshConcept(
        record=record,
        position=f"names, line {concept.line}",
        mesh_id=mesh_id,
        entity_type=concept.types.pop(),
        record_type=cells.get("record_type") or DESCRIPTOR,
        names=names,
        kinds=kinds,
        tree_numbers=checked_tree_numbers([*_several(cells.get("tree_numbers")), *_several(_ROOTS.get(mesh_id))]),
        mapped_to=tuple(_several(cells.get("mapped_to"))),
        aliases=tuple(concept.aliases),
    )


def _several(cell: str | None) -> list[str]:
    return [value for value in (cell or "").split("|") if value]


def _file_of(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.tsv", folder / f"{name}.tsv.xz"):
        if path.exists():
            return path
    raise InputError(f"found neither {name}.tsv nor {name}.tsv.xz", path=folder)


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    path = _file_of(folder, name)
    try:
        with open_source(path, expected=f"a table of {', '.join(columns)}") as source:
            lines = (line for _, line in source.lines())
            table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
            missing = set(columns) - set(table.fieldnames or ())
            if missing:
                raise InputError(f"{name} lacks the columns {', '.join(sorted(missing))}", path=folder)
            for cells in table:
                yield table.line_num, cells
    except csv.Error as error:
        raise SourceError(f"cannot be read ({error}); create it again", path=path) from error

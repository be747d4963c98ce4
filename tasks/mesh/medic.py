"""Parse MEDIC, CTD's disease vocabulary, which joins the diseases of MeSH and OMIM: `CTD_diseases.tsv`.

Format: https://ctdbase.org/downloads/#alldiseases. Lines that begin with # are comments, except the one that names the
columns. Several values in one cell are separated by `|`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from e2emern.tasks.errors import SourceError
from e2emern.tasks.mesh.records import (
    DESCRIPTOR,
    ENTRY,
    OMIM,
    SUPPLEMENTARY,
    LeftOut,
    MeshConcept,
    MeshRecord,
    checked_tree_numbers,
    named,
)
from e2emern.tasks.parsers.records import Failure, RecordError
from e2emern.tasks.parsers.source_reader import open_source

_NAME, _ID = "DiseaseName", "DiseaseID"
_NEEDED = {_NAME, _ID, "AltDiseaseIDs", "ParentIDs", "TreeNumbers", "Synonyms"}

_RECORD_TYPES = {"D": DESCRIPTOR, "C": SUPPLEMENTARY}
_MESH_ID = re.compile(r"[DC][0-9]{6,12}")
_OMIM_ID = re.compile(r"[0-9]{6}")
_TREES = frozenset({"MESH:C", "MESH:F03"})  # rows of the roots of whole trees


def is_medic(line: str) -> bool:
    """Return whether a line names the columns of CTD_diseases.tsv."""
    return {_NAME, _ID} <= set(_cells(line.removeprefix("#")))


def parse_medic(path: Path) -> Iterator[MeshRecord]:
    """Yield each disease of a file in order. Memory does not grow with the file.

    Raises SourceError if the file cannot be read to its end, or has no line of column names.
    """
    columns: list[str] = []
    record = 0
    with open_source(path) as source:
        for number, line in source.lines():
            if not columns and is_medic(line):
                columns = _columns(line, path)
            elif line.strip() and not line.startswith("#"):
                if not columns:
                    raise SourceError(
                        f"line {number} comes before the column names; expected CTD_diseases.tsv", path=path
                    )
                yield _record(line, number, record, columns)
                record += 1


def _columns(line: str, path: Path) -> list[str]:
    columns = _cells(line.removeprefix("#"))
    if missing := _NEEDED - set(columns):
        raise SourceError(f"lacks the columns {', '.join(sorted(missing))}; expected CTD_diseases.tsv", path=path)
    return columns


def _record(line: str, number: int, record: int, columns: list[str]) -> MeshRecord:
    found = _cells(line)
    cells = dict(zip(columns, found, strict=False))
    identifier = cells.get(_ID, "")
    try:
        if len(found) != len(columns):  # fewer if the file is truncated
            raise RecordError(f"found {len(found)} cells, expected {len(columns)}")
        return LeftOut(identifier) if identifier in _TREES else _concept(cells, number, record)
    except RecordError as error:
        return Failure(record, f"line {number}", str(error), identifier[:100] or None)


def _concept(cells: dict[str, str], number: int, record: int) -> MeshConcept:
    mesh_id = _bare(cells[_ID])
    record_type = _RECORD_TYPES.get(mesh_id[:1], OMIM)
    if not (_OMIM_ID if record_type == OMIM else _MESH_ID).fullmatch(mesh_id):
        raise RecordError(f"{_ID} {cells[_ID][:40]!r}, expected one such as MESH:D000001 or OMIM:100100")
    names, kinds = named(cells[_NAME], [(name, ENTRY) for name in _several(cells["Synonyms"])])
    placed = record_type == DESCRIPTOR  # the tree numbers of others are those of their parents with a suffix
    return MeshConcept(
        record=record,
        position=f"line {number}",
        mesh_id=mesh_id,
        entity_type="Disease",
        record_type=record_type,
        names=names,
        kinds=kinds,
        tree_numbers=checked_tree_numbers(_several(cells["TreeNumbers"])) if placed else (),
        mapped_to=() if placed else tuple(_bare(one) for one in _several(cells["ParentIDs"]) if one not in _TREES),
        aliases=tuple(_bare(other) for other in _several(cells["AltDiseaseIDs"])),
    )


def _bare(identifier: str) -> str:
    return identifier.removeprefix("MESH:").removeprefix("OMIM:").removeprefix("DO:")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]


def _several(cell: str) -> list[str]:
    return [value.strip() for value in cell.split("|") if value.strip()]

"""Makes the entities table of one MeSH version from tables of names, records and aliases.

The compact form is three tab-separated tables, plain or .xz, with a header:
`names` (mesh_id, entity_type, preferred, name, source), `records` (mesh_id, record_type, tree_numbers,
mapped_to) and `aliases` (alias, mesh_id). Several values in one cell are separated by `|`.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.errors import InputError

# Roots of the MeSH trees (https://meshb.nlm.nih.gov/treeView), which tables of descriptors often leave without number.
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


def read_compact_mesh(folder: Path, *, version: str) -> list[dict[str, Any]]:
    """Reads `names`, `records` and `aliases` (.tsv or .tsv.xz) of a folder into rows of the entities table.

    Rows are ordered by mesh_id. Names that differ only by case are kept once, the preferred one first. The root of a
    tree is given its number where the records leave it out.

    Raises:
        InputError: a table or a column is missing, or a concept has no preferred name.
    """
    rows: dict[str, dict[str, Any]] = {}
    for line, cells in _table(folder, "names", ("mesh_id", "entity_type", "preferred", "name")):
        row = rows.setdefault(
            cells["mesh_id"],
            {"mesh_id": cells["mesh_id"], "entity_type": cells["entity_type"], "name": None, "spellings": {}},
        )
        if row["entity_type"] != cells["entity_type"]:
            raise InputError(
                f"{folder}: names, line {line}: {cells['mesh_id']} is {cells['entity_type']}, "
                f"but {row['entity_type']} before; keep one type a concept"
            )
        row["spellings"].setdefault(cells["name"].lower(), cells["name"])
        if cells["preferred"] == "1" and row["name"] is None:
            row["name"] = cells["name"]
    records = {cells["mesh_id"]: cells for _, cells in _table(folder, "records", ("mesh_id", "record_type"))}
    aliases: dict[str, list[str]] = {}
    for _, cells in _table(folder, "aliases", ("alias", "mesh_id")):
        aliases.setdefault(cells["mesh_id"], []).append(cells["alias"])
    entities = []
    for mesh_id, row in sorted(rows.items()):
        if row["name"] is None:
            raise InputError(f"{folder}: {mesh_id} has no preferred name; mark one with preferred = 1")
        record = records.get(mesh_id, {"record_type": "descriptor", "tree_numbers": "", "mapped_to": ""})
        others = [name for key, name in row["spellings"].items() if key != row["name"].lower()]
        entities.append(
            {
                "mesh_id": mesh_id,
                "name": row["name"],
                "names": [row["name"], *others],
                "entity_type": row["entity_type"],
                "tree_numbers": _tree_numbers(mesh_id, record["tree_numbers"]),
                "record_type": record["record_type"],
                "mapped_to": _several(record["mapped_to"]),
                "aliases": sorted(aliases.get(mesh_id, [])),
                "mesh_version": version,
            }
        )
    return entities


def _tree_numbers(mesh_id: str, cell: str) -> list[str]:
    return sorted({*_several(cell), *filter(None, [_ROOTS.get(mesh_id)])})


def _several(cell: str) -> list[str]:
    return [value for value in (cell or "").split("|") if value]


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    plain, packed = folder / f"{name}.tsv", folder / f"{name}.tsv.xz"
    if not plain.exists() and not packed.exists():
        raise InputError(f"{folder}: found neither {plain.name} nor {packed.name}")
    opened = plain.open(encoding="utf-8") if plain.exists() else lzma.open(packed, "rt", encoding="utf-8")
    with opened as lines:
        table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = set(columns) - set(table.fieldnames or ())
        if missing:
            raise InputError(f"{folder}: {name} lacks the columns {', '.join(sorted(missing))}")
        for cells in table:
            yield table.line_num, cells

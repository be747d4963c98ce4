"""Build one version of MeSH from its sources: NLM's XML, MEDIC, and our compact tables, in any combination.

Sources are streamed one after the other; only compact tables are held in memory. The concepts go to a temporary file,
which DuckDB sorts by id, so that the entries of all sources for one concept are adjacent.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.mesh import medic, nlm, replaced, tsv
from e2emern.tasks.mesh.records import LeftOut, MeshConcept, MeshRecord
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.parsers.source_reader import open_source
from e2emern.tasks.parsers.xml_stream import root_tag
from e2emern.warehouse.files import atomic_write, sweep
from e2emern.warehouse.layout import Home, SourceKey, digest_file
from e2emern.warehouse.mesh.entities import keep_entities, sorted_rows
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import ENTITIES, FAILURES

_EXPECTED = (
    "NLM's desc or supp XML, CTD_diseases.tsv, a table of old_id and new_id, plain or compressed, "
    "or a folder of names, records and aliases"
)
_YEAR = re.compile(r"(?:desc|supp)((?:19|20)[0-9]{2})")
_ROWS = 1024

# Read in this order: supplementary records get their type from descriptors, and the first source of a concept gives its
# preferred name, type and trees.
_FORMATS = ("descriptors", "supplementary", "MEDIC", "compact tables", "replaced ids")

_TEXTS = ("position", "mesh_id", "entity_type", "record_type", "replaced")
_LISTS = ("names", "kinds", "tree_numbers", "mapped_to", "aliases")
_PARTS = pa.schema(
    # source: position among the sources; replaced: the own identifier of a record that another one replaces
    [("source", pa.int32()), ("record", pa.int64())]
    + [(name, pa.string()) for name in _TEXTS]
    + [(name, pa.list_(pa.string())) for name in _LISTS]
)


@dataclass(slots=True, kw_only=True)
class Imported:
    """Record counts over all sources: read = concepts + joined + left_out + failed + replaced."""

    mesh_version: str
    read: int = 0
    concepts: int = 0
    names: int = 0
    joined: int = 0  # records merged into the concept of an earlier source
    left_out: int = 0  # neither disease nor chemical
    failed: int = 0
    replaced: int = 0  # rows that give the new identifier of a concept
    unchanged: bool = False  # the home already had the same vocabulary
    failures: Path | None = None  # table of failed records, if there are any


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    form: str
    key: SourceKey


@dataclass(slots=True)
class _Failures:
    """Writer of the table of failures, with a buffer of rows."""

    writer: TableWriter
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def add(self, source: _Source, *, record: int, position: str, mesh_id: str | None, reason: str) -> None:
        origin = {"source": source.key.name, "digest": source.key.digest, "record": record}
        self.waiting.append(origin | {"document_id": mesh_id, "position": position, "reason": reason})
        if len(self.waiting) == _ROWS:
            self.flush()

    def flush(self) -> None:
        self.writer.append(self.waiting)
        self.waiting = []


def import_mesh(
    sources: Sequence[Path], *, version: str | None = None, home: Home | None = None, output: Path | None = None
) -> Imported:
    """Build a version of MeSH from all sources together, and write it to `home`, to the file `output`, or both.

    Records that cannot be used go to a table of failures next to the entities. `version` defaults to the year in the
    names of NLM's files. Raises InputError if sources have an unknown format or hold no concept, SourceError if one is
    damaged or unsafe, and WarehouseError if the home has a different vocabulary of this version.
    """
    read = sorted((_source(path) for path in sources), key=lambda source: _FORMATS.index(source.form))
    imported = Imported(mesh_version=version or _version_of(read))
    if home is not None:
        sweep(home.root)
    with tempfile.TemporaryDirectory(prefix="e2emern-mesh-") as folder:
        parts, table, failures = (Path(folder) / name for name in ("parts.parquet", "entities.parquet", "failures"))
        with TableWriter(failures, FAILURES) as writer:
            failed = _Failures(writer)
            successors = _successors(read, failed, imported)
            _write_parts(read, parts, successors, failed, imported)
            _join(read, parts, table, successors, failed, imported)
            failed.flush()
            imported.failed = writer.rows + len(failed.waiting)
        if not imported.concepts:
            raise InputError(f"{_listed(read)}: no disease and no chemical among {imported.read:,} records")
        if home is not None:
            imported.unchanged = not keep_entities(home, table, mesh_version=imported.mesh_version)
            imported.failures = _keep_failures(failures, home.entity_failures(imported.mesh_version), imported)
        if output is not None:
            imported.failures = _keep_failures(failures, output.with_suffix(".failures.parquet"), imported)
            _copy(table, output)
    return imported


def _source(path: Path) -> _Source:
    if path.is_dir():
        files = tsv.table_files(path)
        digest = hashlib.sha256("".join(map(digest_file, files)).encode()).hexdigest()[:16]
        return _Source(path, "compact tables", SourceKey(path.resolve().name, digest))
    form = _format_of(path)
    return _Source(path, form, SourceKey(path.name, digest_file(path)))


def _format_of(path: Path) -> str:
    """Return a file's format from its content. Raises SourceError if the format is unknown."""
    with open_source(path, expected=_EXPECTED) as source:
        start = next(source.chunks(), b"").removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        with open_source(path, expected=_EXPECTED) as source:
            tag = root_tag(source, path)
        for root, form in ((nlm.DESCRIPTORS_ROOT, "descriptors"), (nlm.SUPPLEMENTARY_ROOT, "supplementary")):
            if tag == root:
                return form
        raise SourceError(f"XML with root element <{tag[:100]}>; expected {_EXPECTED}", path=path)
    if any(map(medic.is_medic, start.decode("utf-8", "replace").splitlines())):
        return "MEDIC"
    if replaced.is_replaced(start.decode("utf-8", "replace").partition("\n")[0]):
        return "replaced ids"
    raise SourceError(f"starts with {start[:20]!r}; expected {_EXPECTED}", path=path)


def _version_of(sources: list[_Source]) -> str:
    years = {match[1] for source in sources if (match := _YEAR.match(source.path.name))}
    if len(years) != 1:
        found = f"the years {', '.join(sorted(years))}" if years else "no year"
        advice = "name the version (parameter version, or --version)"
        raise InputError(f"{_listed(sources)}: found {found} in the names; {advice}")
    return years.pop()


def _listed(sources: list[_Source]) -> str:
    return ", ".join(str(source.path) for source in sources)


@dataclass(frozen=True, slots=True)
class _Successor:
    """The identifier that replaces another, and the row that gives it."""

    mesh_id: str
    source: _Source
    record: int
    line: int


def _successors(sources: list[_Source], failures: _Failures, imported: Imported) -> dict[str, _Successor]:
    """Return the newest identifier of each replaced one."""
    successors: dict[str, _Successor] = {}
    for source in sources:
        if source.form != "replaced ids":
            continue
        for record, row in enumerate(replaced.parse_replaced(source.path)):
            imported.read += 1
            if isinstance(row, Failure):
                mesh_id, position, reason = row.document_id, row.position, row.reason
            elif row[1] in successors:
                mesh_id, position = row[1], f"line {row[0]}"
                reason = f"duplicate; the one at line {successors[row[1]].line} is used"
            else:
                successors[row[1]] = _Successor(row[2], source, record, row[0])
                continue
            failures.add(source, record=record, position=position, mesh_id=mesh_id, reason=reason)
    for old, first in list(successors.items()):
        seen, last = {old}, first.mesh_id
        while last in successors and last not in seen:
            seen.add(last)
            last = successors[last].mesh_id
        successors[old] = replace(first, mesh_id=last)
    return successors


def _write_parts(
    sources: list[_Source], parts: Path, successors: dict[str, _Successor], failures: _Failures, imported: Imported
) -> None:
    """Write the concepts of all sources before merging, under the identifiers of their successors."""
    headings: dict[str, str | None] = {}
    with TableWriter(parts, _PARTS) as writer:
        for at, source in enumerate(sources):
            if source.form == "replaced ids":
                continue
            rows = map(
                partial(_renamed, successors=successors),
                _rows(_records(source, headings), at, source, headings, failures, imported),
            )
            while chunk := list(islice(rows, _ROWS)):
                writer.append(chunk)


def _records(source: _Source, headings: dict[str, str | None]) -> Iterator[MeshRecord]:
    match source.form:
        case "descriptors":
            return nlm.parse_descriptors(source.path)
        case "supplementary":
            return nlm.parse_supplementary(source.path, headings=headings)
        case "MEDIC":
            return medic.parse_medic(source.path)
        case _:
            return tsv.parse_compact(source.path)


def _rows(
    records: Iterable[MeshRecord],
    at: int,
    source: _Source,
    headings: dict[str, str | None],
    failures: _Failures,
    imported: Imported,
) -> Iterator[dict[str, Any]]:
    for record in records:
        imported.read += 1
        match record:
            case MeshConcept():
                if source.form == "descriptors":
                    headings[record.mesh_id] = record.entity_type
                columns = (name for name in _PARTS.names[1:] if name != "replaced")
                yield {"source": at, "replaced": None} | {name: getattr(record, name) for name in columns}
            case LeftOut():
                if source.form == "descriptors":
                    headings[record.mesh_id] = None
                imported.left_out += 1
            case Failure():
                failures.add(
                    source,
                    record=record.record,
                    position=record.position,
                    mesh_id=record.document_id,
                    reason=record.reason,
                )


def _renamed(row: dict[str, Any], *, successors: dict[str, _Successor]) -> dict[str, Any]:
    if successor := successors.get(row["mesh_id"]):
        row |= {"replaced": row["mesh_id"], "mesh_id": successor.mesh_id}
    return row


def _join(
    sources: list[_Source],
    parts: Path,
    table: Path,
    successors: dict[str, _Successor],
    failures: _Failures,
    imported: Imported,
) -> None:
    """Write one row per concept, merged from all sources."""
    origin = {"sources": [source.key.name for source in sources], "digests": [source.key.digest for source in sources]}
    with TableWriter(table, ENTITIES, metadata={"e2emern.mesh": json.dumps(origin)}) as writer:
        concepts = _concepts(sources, parts, successors, failures, imported)
        while chunk := list(islice(concepts, _ROWS)):
            writer.append(chunk)


def _concepts(
    sources: list[_Source], parts: Path, successors: dict[str, _Successor], failures: _Failures, imported: Imported
) -> Iterator[dict[str, Any]]:
    """Yield the row of each concept, and record the replaced identifiers whose successor no source has."""
    older: dict[str, list[str]] = {}
    for old, successor in successors.items():
        older.setdefault(successor.mesh_id, []).append(old)
    by = "mesh_id, replaced IS NOT NULL, source, record"
    rows = (row for batch in sorted_rows(parts, by=by) for row in batch.to_pylist())
    for mesh_id, group in groupby(rows, key=itemgetter("mesh_id")):
        first, *others = group
        if first["replaced"]:  # no source has the successor
            kept = [row | {"mesh_id": row["replaced"], "replaced": None} for row in (first, *others)]
            for _, mine in groupby(sorted(kept, key=itemgetter("mesh_id")), key=itemgetter("mesh_id")):
                yield _merged(list(mine), (), sources, failures, imported)
        else:
            yield _merged([first, *others], older.pop(mesh_id, ()), sources, failures, imported)
    for mesh_id, without in older.items():
        for old in without:
            row = successors[old]
            reason = f"no source has its successor {mesh_id}"
            failures.add(row.source, record=row.record, position=f"line {row.line}", mesh_id=old, reason=reason)


def _merged(
    rows: list[dict[str, Any]], older: Sequence[str], sources: list[_Source], failures: _Failures, imported: Imported
) -> dict[str, Any]:
    """Return the row of a concept; `older` are the identifiers that it replaces."""
    sound = rows[:1]
    for row in rows[1:]:
        if reason := _contradiction(row, sound, sources):
            failures.add(
                sources[row["source"]],
                record=row["record"],
                position=row["position"],
                mesh_id=row["replaced"] or row["mesh_id"],
                reason=reason,
            )
        else:
            sound.append(row)
    concept = _joined(sound, older, version=imported.mesh_version)
    imported.concepts += 1
    imported.names += len(concept["names"])
    imported.joined += len(sound) - 1
    imported.replaced += len(older)
    return concept


def _contradiction(row: dict[str, Any], sound: list[dict[str, Any]], sources: list[_Source]) -> str | None:
    if (row["source"], row["replaced"]) == (sound[-1]["source"], sound[-1]["replaced"]):
        return f"duplicate; the one at {sound[-1]['position']} is used"
    if row["entity_type"] != sound[0]["entity_type"]:
        return f"{row['entity_type']}, but {sound[0]['entity_type']} in {sources[sound[0]['source']].key.name}"
    return None


def _joined(rows: list[dict[str, Any]], older: Sequence[str], *, version: str) -> dict[str, Any]:
    """Return the merged row of a concept: the first source with a value wins, and names are united."""
    first = rows[0]
    spelled: dict[str, tuple[str, str]] = {}
    for row in rows:
        for name, kind in zip(row["names"], row["kinds"], strict=True):
            spelled.setdefault(name.lower(), (name, kind if row is first or kind != "preferred" else "entry"))
    named = sorted(spelled.values(), key=lambda one: one[1] == "permuted")
    return {
        "mesh_id": first["mesh_id"],
        "name": first["names"][0],
        "names": [name for name, _ in named],
        "name_kinds": [kind for _, kind in named],
        "entity_type": first["entity_type"],
        "tree_numbers": next((row["tree_numbers"] for row in rows if row["tree_numbers"]), []),
        "record_type": first["record_type"],
        "mapped_to": next((row["mapped_to"] for row in rows if row["mapped_to"]), []),
        "aliases": sorted({*older, *(alias for row in rows for alias in row["aliases"])} - {first["mesh_id"]}),
        "mesh_version": version,
    }


def _keep_failures(failures: Path, kept: Path, imported: Imported) -> Path | None:
    if imported.failed:
        _copy(failures, kept)
        return kept
    kept.unlink(missing_ok=True)
    return None


def _copy(file: Path, kept: Path) -> None:
    with file.open("rb") as source, atomic_write(kept) as target:
        shutil.copyfileobj(source, target)

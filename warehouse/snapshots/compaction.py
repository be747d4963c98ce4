"""Merge the files of many small sources into few, so that a query opens tens of files instead of thousands.

The files of a source are kept: they are the unit of work, and merged files can be written again from them at any time.
The snapshot keeps their facts too, so that a damaged file is never merged.
Only small files are merged, so that big ones are not stored twice. Each kind is merged separately, because a source can
have a big file of documents and a small one of mentions. The name of a merged file is a digest of its sources. The file
is complete or absent, and never changes. A snapshot reads it in place of the files of its sources. Each row keeps its
origin, and its `place` is one number for source and record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.parquet import TableWriter, read_batches, verify_pages
from e2emern.warehouse.snapshots.file_stats import FileFacts, check_facts, folder_of
from e2emern.warehouse.snapshots.views import PLACE

SMALL = 16 * 1024 * 1024  # bytes; a bigger file is not merged
FULL = 64 * 1024 * 1024  # bytes; a group of this size gets no more files
LOOSE = 64  # merge once this many small files are in no group

_GROUPS_SQL = "SELECT path, source, digest FROM files WHERE starts_with(path, 'compacted/') ORDER BY rowid"
_PLACE = pa.field(PLACE, pa.int64(), nullable=False)
_RECORDS = 1 << 32  # more than any source has


@dataclass(frozen=True, slots=True)
class Group:
    """Sources whose files of one kind (documents, mentions ...) are merged."""

    kind: str
    name: str
    keys: tuple[SourceKey, ...]

    @property
    def of_model(self) -> bool:
        """Whether each model has its own files of this kind."""
        return self.kind in ("mentions", "unread")


def plan(kind: str, sizes: Mapping[SourceKey, int], *, existing: Sequence[Group] = ()) -> list[Group]:
    """Return the groups to merge for one kind of file. `sizes` are in bytes, for each current source in order of rank.

    Existing groups are kept until `LOOSE` small files are in no group. Then these files join the groups that are not
    full; no group is split. All sources of an existing group are current.
    """
    grouped = {key for group in existing for key in group.keys}
    loose = [key for key, size in sizes.items() if size < SMALL and key not in grouped]
    if len(loose) < LOOSE:
        return list(existing)
    groups = [group for group in existing if _bytes(group.keys, sizes) >= FULL]
    keys: list[SourceKey] = []
    for unit in (*(group.keys for group in existing if group not in groups), *((key,) for key in loose)):
        keys += unit
        if _bytes(keys, sizes) >= FULL:
            groups.append(_group(kind, keys, sizes))
            keys = []
    return groups + ([_group(kind, keys, sizes)] if len(keys) > 1 else [])


def merge(
    home: Home, group: Group, files: Mapping[SourceKey, Mapping[str, str]], *, facts: dict[str, FileFacts]
) -> str:
    """Return the merged file of a group, and write it if it does not exist. All paths are relative to the home.

    `files` are those of each source by kind. A file may itself be merged if all of its sources are adjacent in the
    group. `facts` are the known facts of files; those of a file that is written are removed.

    Raises `SchemaMismatchError` if columns differ between files, `WarehouseError` if a file is damaged.
    """
    paths: dict[str, int] = {}  # with the number of the first source in each
    for number, key in enumerate(group.keys):
        paths.setdefault(files[key][group.kind], number)
    first = next(iter(paths))
    merged = home.compacted(first, group.name)
    if not (home.root / merged).exists():
        for path in paths:
            check_facts(home.root, path, known=facts)
        facts.pop(merged, None)
        schema = pq.read_schema(home.root / first).remove_metadata()
        with TableWriter(home.root / merged, schema if PLACE in schema.names else schema.append(_PLACE)) as writer:
            for path, number in paths.items():
                for batch in read_batches(home.root / path):
                    writer.append(_placed(batch, number))
    elif merged not in facts:  # by a publish that ended early
        verify_pages(home.root / merged)
    return merged


def merged_groups(connection: duckdb.DuckDBPyConnection) -> dict[str, Group]:
    """Return the groups of an open snapshot by the path of their merged file, relative to the home."""
    sources: dict[str, list[SourceKey]] = {}
    for path, name, digest in connection.execute(_GROUPS_SQL).fetchall():
        sources.setdefault(path, []).append(_key(name, digest))
    groups = {}
    for path, keys in sources.items():
        _, folder, *of_model, file = path.split("/")
        kind = "unread" if folder == "failures" and of_model else folder
        groups[path] = Group(kind, file.removesuffix(".parquet"), tuple(keys))
    return groups


def merge_again(home: Home, path: str, group: Group, *, facts: dict[str, FileFacts]) -> None:
    """Write a merged file that does not exist from the files of its sources. `path` is relative to the home.

    `facts` and errors are as for `merge`.
    """
    folder = folder_of(path).removeprefix("compacted/")
    files = {key: {group.kind: f"{folder}/{key.stem}.parquet"} for key in group.keys}
    merge(home, group, files, facts=facts)


def first_place(number: int) -> int:
    """Return the place of the first record of a source in a merged file. `number` counts its sources from 0."""
    return (number + 1) * _RECORDS


def _placed(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Set the place of every row from the number of its source; in a merged file, that of its first source."""
    if PLACE not in batch.schema.names:
        return batch.append_column(_PLACE, pc.add(batch["record"], first_place(number)))
    column = batch.schema.get_field_index(PLACE)
    return batch.set_column(column, _PLACE, pc.add(batch[PLACE], number * _RECORDS))


_key = lru_cache(maxsize=100_000)(SourceKey)  # a source is in a group of each kind


def _bytes(keys: Iterable[SourceKey], sizes: Mapping[SourceKey, int]) -> int:
    return sum(sizes[key] for key in keys)


def _group(kind: str, keys: Sequence[SourceKey], sizes: Mapping[SourceKey, int]) -> Group:
    identity = "\n".join(f"{key.stem} {sizes[key]}" for key in keys)
    return Group(kind, hashlib.sha256(identity.encode()).hexdigest()[:16], tuple(keys))

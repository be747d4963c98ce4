"""Merges the files of many small sources into few, so that a query opens tens of files and not thousands.

The files of a source stay: they are the unit of work, and what is merged can be made again from them at any time. Only
small files are merged, so that big ones are not stored twice, and each kind by itself: those of documents are big where
those of mentions are small. A merged file is named after its sources, whole or absent, and never changed; a snapshot
names it in place of theirs. Each of its rows keeps its origin, and has as its `place` one number for source and record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import WarehouseError
from warehouse.layout import Home, SourceKey
from warehouse.parquet import TableWriter
from warehouse.snapshots.views import PLACE

SMALL = 16 * 1024 * 1024  # bytes: a file that is bigger stays by itself
FULL = 64 * 1024 * 1024  # bytes: a group that has reached this takes in no more
LOOSE = 64  # so many small files outside of groups are merged; fewer are left alone

_PLACE = pa.field(PLACE, pa.int64(), nullable=False)
_RECORDS = 1 << 32  # more than a source has


@dataclass(frozen=True, slots=True)
class Group:
    """Sources whose files of one kind (documents, mentions ...) are merged."""

    kind: str
    name: str
    keys: tuple[SourceKey, ...]

    @property
    def of_model(self) -> bool:
        """Whether the files are those that each model has its own of."""
        return self.kind in ("mentions", "unread")


def plan(kind: str, sizes: Mapping[SourceKey, int], *, standing: Sequence[Group] = ()) -> list[Group]:
    """Returns the groups to merge of one kind of files, from the bytes of that of each current source in order of rank.

    Groups that stand are kept as they are until `LOOSE` small files are outside of them; then these join the groups
    that are not full, each of which stays together. All sources of a group that stands are current.
    """
    grouped = {key for group in standing for key in group.keys}
    loose = [key for key, size in sizes.items() if size < SMALL and key not in grouped]
    if len(loose) < LOOSE:
        return list(standing)
    groups = [group for group in standing if _bytes(group.keys, sizes) >= FULL]
    keys: list[SourceKey] = []
    for unit in (*(group.keys for group in standing if group not in groups), *((key,) for key in loose)):
        keys += unit
        if _bytes(keys, sizes) >= FULL:
            groups.append(_group(kind, keys, sizes))
            keys = []
    return groups + ([_group(kind, keys, sizes)] if len(keys) > 1 else [])


def merge(home: Home, group: Group, files: Mapping[SourceKey, Mapping[str, Path]]) -> Path:
    """Returns the merged file of a group, and writes it where it is not there yet.

    `files` are those of each source by kind; one may stand merged where all of its sources are in the group, side by
    side. Raises `SchemaMismatchError` for a file with other columns than the first, `WarehouseError` for a damaged one.
    """
    paths: dict[Path, int] = {}  # with the number of the first source in each
    for number, key in enumerate(group.keys):
        paths.setdefault(files[key][group.kind], number)
    first = next(iter(paths))
    merged = home.compacted(first, group.name)
    if not merged.exists():
        schema = pq.read_schema(first).remove_metadata()
        with TableWriter(merged, schema if PLACE in schema.names else schema.append(_PLACE)) as writer:
            for path, number in paths.items():
                for batch in _batches(path):
                    writer.append(_placed(batch, number))
    return merged


def first_place(number: int) -> int:
    """Returns the place of the first record of the source of this number, from 0, in a merged file."""
    return (number + 1) * _RECORDS


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches()
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{path} cannot be read ({' '.join(str(error).split())}); see e2emern doctor") from error


def _placed(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Gives every row its place, from the number of its source, or that of the first one in a merged file."""
    if PLACE not in batch.schema.names:
        return batch.append_column(_PLACE, pc.add(batch["record"], first_place(number)))
    column = batch.schema.get_field_index(PLACE)
    return batch.set_column(column, _PLACE, pc.add(batch[PLACE], number * _RECORDS))


def _bytes(keys: Iterable[SourceKey], sizes: Mapping[SourceKey, int]) -> int:
    return sum(sizes[key] for key in keys)


def _group(kind: str, keys: Sequence[SourceKey], sizes: Mapping[SourceKey, int]) -> Group:
    said = "\n".join(f"{key.stem} {sizes[key]}" for key in keys)
    return Group(kind, hashlib.sha256(said.encode()).hexdigest()[:16], tuple(keys))

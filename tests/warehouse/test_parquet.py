"""A table file is whole or absent, the same for the same rows, and refuses rows that do not fit."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.warehouse.errors import SchemaMismatchError, WarehouseError
from e2emern.warehouse.files import atomic_write, sweep
from e2emern.warehouse.footers import seal_footer, without_seal
from e2emern.warehouse.parquet import TableWriter, read_metadata, read_table, verify_pages
from e2emern.warehouse.schemas import DELETIONS, FAILURES

ROOT = Path(__file__).parents[2]


def failure(record: int, **changes: Any) -> dict[str, Any]:
    row = {"source": "s", "digest": "d", "record": record, "document_id": None, "position": "line 1", "reason": "r"}
    return row | changes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    with TableWriter(path, FAILURES, metadata={"b": "1"}) as writer:
        writer.append([failure(0), failure(1, reason="it's bad")])
        writer.append(pa.Table.from_pylist([failure(2)], schema=FAILURES))
        writer.append(pa.RecordBatch.from_pylist([failure(3)], schema=FAILURES))
        writer.metadata["a"] = "added late"
        assert writer.rows == 4
    table = pq.read_table(path)
    assert table.to_pylist() == [failure(0), failure(1, reason="it's bad"), failure(2), failure(3)]
    assert table.schema.equals(FAILURES, check_metadata=False)
    assert table.schema.field("reason").metadata[b"description"] == b"Why the record could not be used"
    assert read_metadata(path) == {"a": "added late", "b": "1"}
    assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    assert names(tmp_path / "new") == ["a.parquet"]


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with TableWriter(path, FAILURES):
        pass
    assert pq.read_table(path).num_rows == 0
    assert pq.read_schema(path).names == FAILURES.names


def test_same_rows_same_bytes_however_appended(tmp_path: Path) -> None:
    count = 270_000
    seven = pa.Table.from_pylist([failure(0, reason=f"reason {number}") for number in range(7)], schema=FAILURES)
    rows = seven.take(pa.array([number % 7 for number in range(count)])).combine_chunks()
    contents = []
    for size in (count, 777, 256):
        path = tmp_path / f"{size}.parquet"
        with TableWriter(path, FAILURES, metadata={"k": "v"}) as writer:
            for start in range(0, count, size):
                writer.append(rows.slice(start, size))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] == contents[2]
    groups = pq.read_metadata(tmp_path / "777.parquet")
    assert [groups.row_group(at).num_rows for at in range(groups.num_row_groups)] == [262_144, 7_856]


def test_row_groups_of_long_texts_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    text = "x" * 1_000_000
    with TableWriter(path, FAILURES) as writer:
        for record in range(0, 512, 64):
            writer.append(pa.Table.from_pylist([failure(record, reason=text)] * 64, schema=FAILURES))
    groups = pq.read_metadata(path)
    assert [groups.row_group(at).num_rows for at in range(groups.num_row_groups)] == [256, 256]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([failure(0) | {"record": "x"}], "column record: found 'x', expected int64"),
        ([failure(0), failure(2**70)], "column record: found 1180591620717411303424, expected int64"),
        ([failure(0, reason=None)], "column reason: found null, expected string"),
        ([failure(0, reason="\ud800")], "column reason: found '\\ud800', expected string"),
        ([failure(0, more=1)], "found keys digest, document_id, more, position, reason, record, source; expected "),
        ([{"record": 1}], "found keys record; expected source, digest, record, document_id, position, reason"),
        (pa.table({"pmid": [1]}), "found columns pmid: int64; expected source: string, digest: string, record: int64"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(SchemaMismatchError) as caught, TableWriter(path, FAILURES) as writer:
        writer.append([failure(9)])
        writer.append(rows)
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.parquet, after row 1: ")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_exception_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with TableWriter(path, DELETIONS) as writer:
        writer.append([{"source": "s", "digest": "d", "record": 0, "pmid": 1, "version": None}])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), TableWriter(path, DELETIONS):
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.parquet"]


WRITER = """
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import DELETIONS
rows = [{"source": "s", "digest": "d", "record": at, "pmid": at, "version": None} for at in range(70_000)]
with TableWriter(Path(sys.argv[1]), DELETIONS) as writer:
    writer.append(rows)  # more than a row group: a part is in the file
    print("half", flush=True)
    sys.stdin.read()
    writer.append(rows)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    return writer


def test_killed_writer_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    dead, living = start_writer(path), start_writer(path)
    with dead, living:
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        assert not path.exists()
        assert len(names(tmp_path)) == 2
        (swept,) = sweep(tmp_path)
        assert f"-{dead.pid}-" in swept.name
        (left,) = names(tmp_path)
        assert f"-{living.pid}-" in left
        living.communicate("")
    assert living.returncode == 0
    assert names(tmp_path) == ["a.parquet"]
    assert pq.read_table(path)["pmid"].to_pylist() == [*range(70_000), *range(70_000)]
    assert sweep(tmp_path) == []


def test_a_refused_folder_is_reported_with_the_name_of_the_requested_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error once named the temporary file instead."""

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as raised, atomic_write(tmp_path / "a.txt"):
        pass
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(WarehouseError, match=r"a\.parquet cannot be read as Parquet; delete it"):
        read_metadata(path)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(WarehouseError, match=r"a\.parquet cannot be read as Parquet; delete it"):
        read_metadata(path)


def flipped(path: Path, bits: Iterable[int]) -> Iterator[None]:
    """Flip one bit of a file at a time."""
    sound = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            for changed in (sound[bit // 8] ^ 1 << bit % 8, sound[bit // 8]):
                file.seek(bit // 8)
                file.write(bytes([changed]))
                if changed != sound[bit // 8]:
                    yield


def test_every_flipped_bit_of_a_footer_is_refused(tmp_path: Path) -> None:
    """The checksums of the pages do not cover it: names, types, places and metadata could change silently."""
    path = tmp_path / "f.parquet"
    with TableWriter(path, pa.schema([("number", pa.int64())]), metadata={"k": "v"}) as writer:
        writer.append([{"number": 3}])
    footer = len(path.read_bytes()) - pq.read_metadata(path).serialized_size - 8
    tried = 0
    for _ in flipped(path, range(8 * footer, 8 * path.stat().st_size)):
        tried += 1
        with pytest.raises(WarehouseError, match=r"f\.parquet"):
            (read_metadata, read_table, verify_pages)[tried % 3](path)
    assert tried == 8 * (path.stat().st_size - footer)
    assert (read_table(path).to_pylist(), read_metadata(path)) == ([{"number": 3}], {"k": "v"})


def test_no_flipped_bit_of_a_file_gives_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    with TableWriter(path, FAILURES) as writer:
        writer.append([failure(3)])
    refused = 0
    for _ in flipped(path, range(0, 8 * path.stat().st_size, 7)):
        try:
            assert read_table(path).to_pylist() == [failure(3)]
        except WarehouseError:
            refused += 1
    assert refused > path.stat().st_size / 2


def test_a_file_without_the_digest_of_its_footer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"number": [3]}), path)
    with pytest.raises(WarehouseError, match="its footer differs from its SHA-256"):
        read_table(path)
    plain = path.read_bytes()
    with path.open("r+b") as file:
        seal_footer(file)
        seal_footer(file)
    assert read_table(path).to_pylist() == [{"number": 3}]
    sealed = path.read_bytes()
    assert (without_seal(sealed), without_seal(plain), len(sealed) - len(plain)) == (plain, plain, 63)


def test_a_long_footer_has_a_digest_too(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    with TableWriter(path, FAILURES, metadata={"k": "v" * 100_000}) as writer:
        writer.append([failure(3)])
    assert len(read_metadata(path)["k"]) == 100_000
    for _ in flipped(path, [8 * (path.stat().st_size - 90_000)]):
        with pytest.raises(WarehouseError):
            read_metadata(path)

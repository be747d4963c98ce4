"""Ways to damage a home; each returns the start of the doctor's finding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from e2emern.warehouse.doctor import Finding
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import MENTIONS
from e2emern.warehouse.snapshots.refs import roll_back
from e2emern.warehouse.sources.hash_cache import digesting
from e2emern.warehouse.sources.runs import begin_run, write_run
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_source, document, key

ONE, TWO, NEW = key("a.xml", "1"), key("b.xml", "2"), key("c.xml", "3")


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def lose_documents(home: Home) -> str:
    home.documents(ONE).unlink()
    return f"documents/{ONE.stem}.parquet: is named by snapshots 1, 2"


def truncate_mentions(home: Home) -> str:
    path = home.mentions(ONE, VERSIONS)
    path.write_bytes(path.read_bytes()[:100])
    return f"mentions/{MODEL}@{MESH}/{ONE.stem}.parquet: cannot be read as Parquet"


def flip_a_byte(home: Home) -> str:
    path = home.documents(ONE)
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    return f"documents/{ONE.stem}.parquet: has 1 rows, {len(content):,} bytes, SHA-256 "


def damage_what_is_not_published(home: Home) -> str:
    add_source(home, NEW, [document(0, "3")])
    home.failures(NEW).write_bytes(b"PAR1")
    return f"failures/{NEW.stem}.parquet: cannot be read as Parquet"


def half_done(home: Home) -> str:
    add_source(home, NEW, [document(0, "3")])
    for path in (home.mentions(NEW, VERSIONS), home.deletions(NEW), home.failures(NEW)):
        path.unlink()
    home.unread(NEW, VERSIONS).unlink()
    return f"documents/{NEW.stem}.parquet: was parsed, but no model has finished annotating it"


def merged_for_nobody(home: Home) -> str:
    path = home.root / home.compacted(home.files(ONE, VERSIONS)["documents"], "0" * 16)
    path.parent.mkdir(parents=True)
    shutil.copyfile(home.documents(ONE), path)
    return "compacted/documents/0000000000000000.parquet: is merged from others"


def write_part(home: Home, of: SourceKey) -> Path:
    path = home.parts(of, VERSIONS) / "000000000-000000256.parquet"
    with TableWriter(path, MENTIONS):
        pass
    return path


def part_of_a_source_that_is_done(home: Home) -> str:
    return f"{write_part(home, ONE).relative_to(home.root)}: of a source that is done"


def part_of_a_source_that_is_gone(home: Home) -> str:
    return f"{write_part(home, NEW).relative_to(home.root)}: is part of a source without documents"


def damaged_part(home: Home) -> str:
    path = write_part(home, NEW)
    path.write_bytes(path.read_bytes()[:-20])
    return f"{path.relative_to(home.root)}: cannot be read as Parquet"


def half_written(home: Home) -> str:
    (home.root / "documents" / ".writing-1-a").write_bytes(b"half")
    return "documents/.writing-1-a: 4 bytes"


def half_a_bank(home: Home, name: str = "bank.safetensors.1.tmp") -> str:
    home.banks.mkdir()
    path = home.banks / name
    path.write_bytes(b"half")
    os.utime(path, (0, 0))
    return f"banks/{name}: 4 bytes"


def part_of_a_bank(home: Home) -> str:
    return half_a_bank(home, "bank.aaaa.bbbb.part")


def half_a_snapshot(home: Home) -> str:
    (home.snapshots / ".building.duckdb").write_bytes(b"half")
    return "snapshots/.building.duckdb: of a publish"


def link_nowhere(home: Home) -> str:
    home.warehouse.unlink()
    home.warehouse.symlink_to("snapshots/9.duckdb")
    return "warehouse.duckdb: links to snapshot 9, which cannot be read"


def no_link(home: Home) -> str:
    home.warehouse.unlink()
    return "warehouse.duckdb: is not a link to a snapshot"


def copy_without_links(home: Home) -> str:
    """As `cp -rL` does, after a rollback; a copy under another name was made before."""
    roll_back(home, 1)
    shutil.copyfile(home.snapshot(1), home.snapshots / "latest.duckdb")
    home.warehouse.unlink()
    shutil.copyfile(home.snapshot(1), home.warehouse)
    return "warehouse.duckdb: is not a link to a snapshot"


def link_another_name(home: Home) -> str:
    copy_without_links(home)
    home.warehouse.unlink()
    home.warehouse.symlink_to("snapshots/latest.duckdb")
    return "warehouse.duckdb: is not a link to a snapshot"


def something_else_in_place_of_the_link(home: Home) -> str:
    home.warehouse.unlink()
    home.warehouse.write_bytes(b"no database")
    return "warehouse.duckdb: is not a link to a snapshot"


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"no database")


def damage_an_old_snapshot(home: Home) -> str:
    damage(home.snapshot(1))
    return "snapshots/1.duckdb: cannot be opened: "


def damage_a_snapshot_that_was_being_pruned(home: Home) -> str:
    (home.snapshots / ".pruned-1.duckdb").write_bytes(b"no database")
    return "snapshots/.pruned-1.duckdb: cannot be opened: "


def killed_run(home: Home) -> str:
    run = replace(begin_run(), process=ended_process())
    write_run(home, run)
    return f"runs/{run.run_id}.json: began "


def flip_a_bit_of_a_table(home: Home) -> str:
    """No view reads it, and DuckDB verifies only the blocks that it reads."""
    path, run = home.snapshot(1), min(home.runs.iterdir()).stem
    content = bytearray(path.read_bytes())
    content[content.index(run.encode())] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return "snapshots/1.duckdb: "


def damage_a_run(home: Home) -> str:
    path = min(home.runs.iterdir())
    path.write_bytes(path.read_bytes().replace(b'"outcome": "annotated"', b'"outcome": "annotatec"'))
    return f"runs/{path.name}: is not a valid run record"


def change_a_dump_unseen(home: Home) -> str:
    dump = home.dumps / "a.xml"
    dump.parent.mkdir()
    for text in ("one", "two"):
        dump.write_text(text)
        os.utime(dump, (0, 0))
        with digesting(home) as digest:
            digest(dump)
    return "dumps/a.xml: has digest 3fc4ccfe745870e2, had 7692c3ad3540bb80"

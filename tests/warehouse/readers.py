"""Readers that query without pause while another process publishes, rolls back, merges and prunes.

`python -m tests.warehouse.readers --readers 8 --publishes 50` prints what was done, and fails on the first error of a
reader or the first answer in which two snapshots are mixed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.refs import roll_back
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key

# Opens the current snapshot as any client would, asks it twice with others in between, and compares with what it says
# of itself; ends when its standard input does.
READER = """
import select, sys
import duckdb

asked, seen = 0, set()
while not (asked and select.select([sys.stdin], [], [], 0)[0]):
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        for _ in range(2):
            said = connection.execute("SELECT documents, mentions, sources, number FROM snapshot").fetchone()
            found = connection.execute('''
                SELECT (SELECT count(DISTINCT document_id) FROM documents), (SELECT count(*) FROM mentions),
                    (SELECT count(*) FROM sources WHERE current), (SELECT number FROM snapshot)
            ''').fetchone()
            assert said == found, f"found {found}, the snapshot says {said}"
            newest = connection.execute("SELECT title, count(*) FROM documents WHERE document_id = '1' GROUP BY ALL")
            titles = newest.fetchall()
            assert titles == [(f"night {said[2] - 1}", 1)], f"found {titles} in snapshot {said}"
            asked += 1
            seen.add(said[3])
print(asked, len(seen))
"""


@dataclass(frozen=True)
class Report:
    """What the readers and the publisher did."""

    answers: int
    snapshots_seen: int  # by the reader that saw most
    published: int
    rolled_back: int
    pruned: int
    left: int


def read_while_publishing(home: Home, *, readers: int, publishes: int, grace_s: float) -> Report:
    """Publishes one more source `publishes` times, every fifth time after a rollback, and prunes after each."""
    add_vocabulary(home)
    _night(home, 0)
    publish(home, VERSIONS)
    command = [sys.executable, "-c", READER, str(home.warehouse)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(readers)
    ]
    rolled_back = pruned = 0
    for night in range(1, publishes + 1):
        _night(home, night)
        accept = None
        if night % 5 == 0 and roll_back(home, why="a drill"):
            rolled_back += 1
            accept = "a drill"
        publish(home, VERSIONS, accept=accept)
        pruned += len(prune(home, keep=2, grace_s=grace_s).deleted)
    answers, seen = 0, 0
    for process in processes:
        out, error = process.communicate("end\n")
        if process.returncode:
            raise AssertionError(error)
        asked, snapshots = map(int, out.split())
        answers, seen = answers + asked, max(seen, snapshots)
    left = len(prune(home, keep=1, grace_s=0).kept)
    return Report(answers, seen, publishes, rolled_back, pruned, left)


def _night(home: Home, night: int) -> None:
    """One more file, which revises document 1 and brings three more."""
    source = key(f"pubmed21n{night:04d}.xml")
    ids = ["1", *(str(10 * night + place) for place in range(10, 13))]
    add_source(home, source, [document(place, one, text=f"night {night}") for place, one in enumerate(ids)])
    add_run(home, source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--publishes", type=int, default=50)
    arguments = parser.parse_args()
    compaction.LOOSE = 12
    with tempfile.TemporaryDirectory() as folder:
        print(
            read_while_publishing(
                Home(Path(folder)), readers=arguments.readers, publishes=arguments.publishes, grace_s=5.0
            )
        )


if __name__ == "__main__":
    main()

"""Damaged inputs of every reader: `python -m tests.soak.fuzz [--inputs N] [--seed N] [--start N]`.

Each input is a sound one of `tests.soak.seeds`, changed at random and sometimes put into an archive or packed. Its
reader must yield records or raise an InputError of one line, within some seconds of CPU time and some gigabytes of
memory. The texts of documents must be what their annotations say and what a table can hold; every tenth dump is written
as tables, and every fiftieth source of MeSH is imported. `--start` resumes after a stop, and `--inputs 1 --start N`
repeats one input.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from e2emern.model.document import Document
from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import parse_source
from e2emern.tasks.errors import InputError
from e2emern.tasks.mesh.importing import import_mesh
from e2emern.tasks.mesh.medic import parse_medic
from e2emern.tasks.mesh.nlm import parse_descriptors, parse_supplementary
from e2emern.tasks.mesh.replaced import parse_replaced
from e2emern.tasks.parsers import Failure, Record, parse
from e2emern.tasks.sources import Source, source_key
from e2emern.warehouse.layout import Home, digest_file
from tests.soak.seeds import SEEDS, SUFFIXES, TOKENS, in_tar, in_zip

MOST_S = 5.0  # CPU time for one input of a few kilobytes
_MOST_BYTES = 4 << 30  # address space beyond that at the start
_STORED, _IMPORTED = 10, 50
_PROGRESS = 5_000
_HEADINGS = {"D001943": "Disease", "D001241": "Chemical"}

_MESH: dict[str, Callable[[Path], Iterable[object]]] = {
    "MeSH descriptors": parse_descriptors,
    "MeSH supplementary": lambda path: parse_supplementary(
        path, headings={"D001943": "Disease", "D001241": "Chemical"}
    ),
    "MEDIC": parse_medic,
    "replaced ids": parse_replaced,
}


class SlowError(BaseException):
    """A reader took longer than `MOST_S`; no handler for exceptions may catch it."""


@dataclass(slots=True)
class Done:
    """Counts of inputs by how they ended, and the first wrong one of each kind."""

    inputs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    records: int = 0
    failures: int = 0
    slowest_s: float = 0.0
    wrong: dict[str, int] = field(default_factory=dict)  # what was wrong, with the number of the first such input

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        return (
            f"{self.inputs:,} inputs of {len(SEEDS)} formats: {ends}; {self.records:,} records, "
            f"{self.failures:,} failures; slowest {self.slowest_s:.2f} s of CPU time"
        )


def fuzz(folder: Path, *, inputs: int, seed: int = 1, start: int = 0, log: Callable[[str], None] | None = None) -> Done:
    """Read `inputs` damaged inputs and return the results."""
    done = Done()

    def wrong(what: str) -> None:
        if what not in done.wrong:
            done.wrong[what] = number
            if log:
                log(f"--seed {seed} --start {number} --inputs 1: {what}")

    for number in range(start, start + inputs):
        name, content = damaged_input(seed, number)
        path = (
            folder / f"input-{number % 8}{SUFFIXES.get(name, '')}"
        )  # few names, so that few files are left if one is held open
        path.write_bytes(content)
        begun = time.process_time()
        try:
            with limited(MOST_S):
                read, failed = _read(name, path, number)
            done.records, done.failures = done.records + read, done.failures + failed
            end = "read"
        except InputError as error:
            end = "refused"
            if "\n" in str(error):  # other characters are made visible when they are printed
                wrong(f"{name}: message {str(error)[:200]!r}")
        except (Exception, SlowError) as error:
            end = "wrong"
            place = traceback.extract_tb(error.__traceback__)[-1]
            wrong(f"{name}: {type(error).__name__}: {str(error)[:100]} ({Path(place.filename).name}:{place.lineno})")
        done.inputs += 1
        done.ends[end] += 1
        done.slowest_s = max(done.slowest_s, time.process_time() - begun)
        if log and done.inputs % _PROGRESS == 0:
            log(f"{number + 1:,}: {done}; {len(done.wrong)} wrong")
    return done


def damaged_input(seed: int, number: int) -> tuple[str, bytes]:
    """Return the format and the content of one input."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice([*SEEDS])
    content = SEEDS[name]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8, 30))):
        content = rng.choice(_CHANGES)(content, rng)
    if rng.random() < 0.02:
        content = content.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-be", "utf-8-sig", "utf-32")))
    if rng.random() < 0.1:
        file = "f" + SUFFIXES.get(name, "")
        members = {file: content, "g.md": SEEDS["Markdown"]} if rng.random() < 0.5 else {"g/h": b"x", file: content}
        content = rng.choice(_ARCHIVES)(members)
        if rng.random() < 0.5:
            content = rng.choice(_CHANGES)(content, rng)
    if rng.random() < 0.2:
        content = rng.choice(_COMPRESSIONS)(content)
        if rng.random() < 0.5:
            content = rng.choice((_flip, _cut, _delete, _insert_bytes))(content, rng)
    return name, content


def _zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


def _read(name: str, path: Path, number: int) -> tuple[int, int]:
    if name in _MESH:
        if number % _IMPORTED == 0:
            import_mesh([path], version="x", output=path.with_name("entities.parquet"))
        return _count(_MESH[name](path))
    if number % _STORED == 0:
        home = Home(path.with_name("home"))
        shutil.rmtree(home.root, ignore_errors=True)
        source = Source(path, source_key(path, digest_file(path)), path.stat().st_size)
        parse_source(source, home=home, report=Report())
    return _count(_checked(parse(path)))


def _checked(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records. Raise AssertionError if an annotation or a number is wrong, UnicodeError for broken text."""
    last = -1
    for record in records:
        assert record.record > last, f"record {record.record} after {last}"
        last = record.record
        if isinstance(record, Document):
            text = record.text
            text.encode()
            for one in record.annotations:
                assert text[one.start : one.end] == one.text, "an annotation has other words than the text"
        elif isinstance(record, Failure):
            for text in (record.position, record.reason, record.document_id or ""):
                text.encode()
        yield record


def _count(records: Iterable[object]) -> tuple[int, int]:
    kinds = Counter(isinstance(record, Failure) for record in records)
    return kinds[False], kinds[True]


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise SlowError in the block after some seconds of CPU time."""
    before = signal.signal(signal.SIGPROF, _slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _slow(*_: object) -> None:
    raise SlowError(f"over {MOST_S} s of CPU time")


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 2, 5, 20, 100, 1000)))


def _delete(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[start:end] * rng.choice((2, 2, 3, 50)) + data[end:]


def _insert_token(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.choice(TOKENS) + data[rng.choice((start, end)) :]


def _replace_number(data: bytes, rng: random.Random) -> bytes:
    digits = [at for at, byte in enumerate(data) if 48 <= byte < 58]
    if not digits:
        return data
    at = rng.choice(digits)
    return data[:at] + rng.choice((b"-1", b"", b"999", b"99999999999999999999", b"1e9", b"00", b"x")) + data[at + 1 :]


def _insert_bytes(data: bytes, rng: random.Random) -> bytes:
    start, _ = _range(data, rng)
    return data[:start] + rng.randbytes(rng.randint(1, 8)) + data[start:]


def _move(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    rest = data[:start] + data[end:]
    at = rng.randint(0, len(rest))
    return rest[:at] + data[start:end] + rest[at:]


def _splice(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice([*SEEDS.values()])
    start, end = _range(other, rng)
    at = rng.randint(0, len(data))
    return data[:at] + other[start:end] + data[at:]


_COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: gzip.compress(data, mtime=0),
    lzma.compress,
    bz2.compress,
    _zstd,
)
_ARCHIVES: tuple[Callable[[dict[str, bytes]], bytes], ...] = (
    lambda files: in_zip(files, zipfile.ZIP_DEFLATED),
    lambda files: in_zip(files, zipfile.ZIP_BZIP2),
    lambda files: in_zip(files, zipfile.ZIP_LZMA),
    lambda files: in_tar(files, tarfile.PAX_FORMAT),
    lambda files: in_tar(files, tarfile.GNU_FORMAT),
)
_CHANGES = (_flip, _cut, _delete, _repeat, _insert_token, _insert_token, _replace_number, _insert_bytes, _move, _splice)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    options = parser.parse_args(arguments)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory(prefix="e2emern-fuzz-") as folder:
        done = fuzz(
            Path(folder),
            inputs=options.inputs,
            seed=options.seed,
            start=options.start,
            log=lambda line: print(line, flush=True),
        )
    print(f"{done}; {time.process_time():.0f} s of CPU time, seed {options.seed}: {len(done.wrong) or 'nothing'} wrong")
    return int(bool(done.wrong))


if __name__ == "__main__":
    sys.exit(main())

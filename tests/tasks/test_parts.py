"""A large source in parts: its files are the same as without parts, and a kill loses only unfinished parts."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from e2emern.model.document import Mention, Text
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.timings import Report
from e2emern.tasks.annotate import Annotated, PartsWritten, annotate_share, annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.models import load
from e2emern.tasks.parts import cut_parts, cut_shares
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.layout import Home
from tests.flows.world import World, articles, finished_files, pubmed

CHUNK = 256
DOCUMENTS = 3 * CHUNK + 100


class Counting:
    """A cascade that counts the texts that it reads, and cannot read some; `before` is called before each chunk."""

    def __init__(self, cascade: Cascade, before: Callable[[int], object] = id) -> None:
        self.cascade, self.before, self.texts = cascade, before, 0
        self.model_version, self.mesh_version = cascade.model_version, cascade.mesh_version

    def annotate(self, texts: Sequence[Text]) -> tuple[list[list[Mention]], Report]:
        if any("unreadable" in sentence.text for text in texts for sentence in text.sentences):
            raise RuntimeError("unreadable")
        if len(texts) > 50:  # not a chunk that is bisected
            self.before(self.texts)
            self.texts += len(texts)
        return self.cascade.annotate(texts)


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load(world.model, world.mesh, home=Home(tmp_path_factory.mktemp("banks")), device="cpu")


def write(folder: Path, *, odd: bool = False) -> Source:
    """A source of four chunks; the odd one has deletions, texts that cannot be read, and documents without text."""
    texts = (articles(100, first=0) * 12)[:DOCUMENTS]
    many = [(9000 + number, title, abstract) for number, (_, title, abstract) in enumerate(texts)]
    if odd:
        for at in (3, 300, 600):
            many[at] = (many[at][0], "unreadable", "")
        many[301] = (many[301][0], "", "")
    path = folder / "pubmed30n0003.xml"
    folder.mkdir(exist_ok=True)
    path.write_text(pubmed(many, deleted=[1, 2] if odd else [], bad=3 if odd else 0))
    return find_sources([path])[0]


def annotate(source: Source, home: Path, cascade: object, *, part: int = 1) -> Annotated:
    return annotate_source(source, annotator=InProcess(cascade), home=Home(home), part=part)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return write(tmp_path_factory.mktemp("in"))


@pytest.fixture(scope="module")
def unsplit(source: Source, cascade: Cascade, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a home with the source, annotated in one go."""
    home = tmp_path_factory.mktemp("unsplit")
    annotate(source, home, cascade, part=10_000)
    return finished_files(home)


def test_parts_are_whole_chunks() -> None:
    def cut(documents: int, size: int) -> list[tuple[int, int]]:
        return [(part.first, part.stop) for part in cut_parts(documents, size=size)]

    assert cut(0, 1) == []
    assert cut(256, 1) == [(0, 256)]
    assert cut(700, 1) == [(0, 256), (256, 512), (512, 700)]
    assert cut(700, 257) == [(0, 512), (512, 700)]
    assert cut(30_000, 10_000) == [(0, 10_240), (10_240, 20_480), (20_480, 30_000)]


def test_a_share_is_one_part_unless_there_are_very_many() -> None:
    assert cut_shares(["a", "b", "c"]) == [["a"], ["b"], ["c"]]
    shares = cut_shares(range(250))
    assert (len(shares), list(shares[0]), list(shares[99])) == (100, [0, 100, 200], [99, 199])


@pytest.mark.parametrize("part", [1, CHUNK + 1])
def test_the_files_equal_those_of_the_unsplit_source(cascade: Cascade, tmp_path: Path, part: int) -> None:
    """With deletions and failures; and a source that repeats texts of another one reuses its mentions."""
    source = write(tmp_path / "in", odd=True)
    whole = annotate(source, tmp_path / "whole", Counting(cascade), part=10_000)
    split = annotate(source, tmp_path / "split", Counting(cascade), part=part)
    assert (split.summary, split.mentions, split.concepts) == (whole.summary, whole.mentions, whole.concepts)
    counts = split.summary.counts
    assert (counts.parsed, counts.without_text, counts.failed, counts.deleted) == (DOCUMENTS + 5, 1, 6, 2)
    assert finished_files(tmp_path / "split") == finished_files(tmp_path / "whole")
    assert list((tmp_path / "split" / "parts").rglob("*.parquet")) == []

    repeated = tmp_path / "in" / "pubmed30n0004.xml"
    shutil.copy(source.path, repeated)
    repeated.write_text(repeated.read_text().replace("unreadable", "aspirin"))
    (again,) = find_sources([repeated])
    found = [
        annotate(again, tmp_path / home, cascade, part=size) for home, size in (("whole", 10_000), ("split", part))
    ]
    assert [one.summary.counts.carried for one in found] == [DOCUMENTS - 4] * 2
    assert finished_files(tmp_path / "split") == finished_files(tmp_path / "whole")


def test_the_next_run_does_not_annotate_finished_parts_again(
    source: Source, cascade: Cascade, tmp_path: Path, unsplit: dict[str, bytes]
) -> None:
    class KilledError(BaseException):
        pass

    def kill(texts: int) -> None:
        if texts == 2 * CHUNK:
            raise KilledError

    home = tmp_path / "home"
    with pytest.raises(KilledError):
        annotate(source, home, Counting(cascade, kill))
    parts = sorted(path.name for path in (home / "parts").rglob("*.parquet"))
    assert parts == [
        "000000000-000000256.parquet",
        "000000256-000000512.parquet",
    ]
    rest = Counting(cascade)
    assert annotate(source, home, rest).summary.counts.annotated == DOCUMENTS
    assert rest.texts == DOCUMENTS - 2 * CHUNK
    assert finished_files(home) == unsplit


@pytest.mark.parametrize("damage", ["page", "footer", "other"])
def test_a_damaged_part_is_annotated_again(
    source: Source, cascade: Cascade, tmp_path: Path, unsplit: dict[str, bytes], damage: str
) -> None:
    home = tmp_path / "home"
    shares = range(1, 4)  # all but the first, which would complete the source
    for one in shares:
        written = annotate_share(source, share=one, annotator=InProcess(cascade), home=Home(home), part=1)
        assert isinstance(written, PartsWritten)
        assert (written.written, written.parts) == (1, 4)
    path = sorted((home / "parts").rglob("*.parquet"))[1]
    content = bytearray(path.read_bytes())
    if damage == "other":
        shutil.copy(next((home / "documents").iterdir()), path)
    else:
        content[len(content) // 3 if damage == "page" else -30] ^= 1
        path.write_bytes(content)
    rest = Counting(cascade)
    annotate(source, home, rest)
    assert rest.texts == 2 * CHUNK
    assert finished_files(home) == unsplit


def test_the_last_share_completes_the_source(
    source: Source, cascade: Cascade, tmp_path: Path, unsplit: dict[str, bytes]
) -> None:
    home = Home(tmp_path / "home")
    counting = Counting(cascade)
    done = {
        share: annotate_share(source, share=share, annotator=InProcess(counting), home=home, part=1)  # type: ignore[arg-type]
        for share in (3, 0, 2, 1)
    }
    assert [share for share, one in done.items() if isinstance(one, Annotated)] == [1]
    assert counting.texts == DOCUMENTS
    assert finished_files(home.root) == unsplit


def test_two_processes_share_a_source(
    source: Source, cascade: Cascade, tmp_path: Path, unsplit: dict[str, bytes]
) -> None:
    """Each starts a part before the other continues, so none can annotate all."""
    home = tmp_path / "home"
    both = threading.Barrier(2)
    counting = [Counting(cascade, lambda texts: texts or both.wait(60)) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda one: annotate(source, home, one), counting))
    assert (done[0].summary, done[0].mentions) == (done[1].summary, done[1].mentions)
    assert min(one.texts for one in counting) > 0
    assert sum(one.texts for one in counting) == DOCUMENTS
    assert finished_files(home) == unsplit


def begin_and_die(world: World, source: Source, home: Path, both: Barrier) -> None:
    """Annotate a source in a process that kills itself after its first part."""

    def before(texts: int) -> None:
        if texts:
            os.kill(os.getpid(), signal.SIGKILL)
        both.wait(240)

    annotate(source, home, Counting(load(world.model, world.mesh, home=Home(home), device="cpu"), before))


def test_the_parts_of_a_killed_process_are_continued(
    world: World, source: Source, cascade: Cascade, tmp_path: Path, unsplit: dict[str, bytes]
) -> None:
    home, processes = tmp_path / "home", multiprocessing.get_context("spawn")
    both = processes.Barrier(2)
    killed = processes.Process(target=begin_and_die, args=(world, source, home, both))
    killed.start()
    counting = Counting(cascade, lambda texts: texts or both.wait(240))
    annotate(source, home, counting)
    killed.join(240)
    assert killed.exitcode == -signal.SIGKILL
    assert DOCUMENTS - counting.texts == CHUNK  # its finished part
    assert finished_files(home) == unsplit

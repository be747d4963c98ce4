"""Fetching from folders and from servers that drop, truncate, lie, change and name what they should not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest import FileOutcome, find_gaps, ingest
from e2emern.warehouse.layout import Home, SourceKey
from tests.conftest import ROOT
from tests.tasks.ingest.fetching import HASTY, ONE, TWO, fetch, outcomes_by_name, packed, parts, shown
from tests.tasks.ingest.serving import Handler, Site, unavailable


def test_a_listing_is_fetched_once(site: Site, tmp_path: Path) -> None:
    contents = {ONE: packed(1), TWO: packed(2)}
    for name, content in contents.items():
        site.add(name, content)
    site.files["README.txt"] = b"read me"
    assert outcomes_by_name(fetch(site, tmp_path / "dumps")) == [(ONE, "fetched"), (TWO, "fetched")]
    assert shown(tmp_path / "dumps") == contents
    assert parts(tmp_path / "dumps") == []
    again = fetch(site, tmp_path / "dumps")
    assert outcomes_by_name(again) == [(ONE, "unchanged"), (TWO, "unchanged")]
    assert {one.name: one.bytes for one in again} == {name: len(content) for name, content in contents.items()}
    assert len(site.requests(f"{ONE}.md5")) == 1
    assert "If-None-Match" in site.requests(ONE)[-1]


def test_a_file_that_changed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    site.add(TWO, packed(2))
    fetch(site, tmp_path)
    new = packed(3)
    site.add(ONE, new)
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched"), (TWO, "unchanged")]
    assert shown(tmp_path)[ONE] == new


def test_a_file_that_was_deleted_or_altered_here_is_fetched_again(site: Site, tmp_path: Path) -> None:
    contents = {ONE: packed(1), TWO: packed(2)}
    for name, content in contents.items():
        site.add(name, content)
    fetch(site, tmp_path)
    (tmp_path / ONE).unlink()
    (tmp_path / TWO).write_bytes(b"altered")
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched"), (TWO, "fetched")]
    assert shown(tmp_path) == contents


def test_nothing_is_fetched_twice_from_a_server_without_conditional_requests(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    fetch(site, tmp_path)
    before = (tmp_path / ONE).stat()
    site.faults[ONE] = [lambda handler, content: handler.send(200, content, ETag=handler.etag("", content))]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "unchanged")]
    assert (tmp_path / ONE).stat() == before


def test_what_cannot_be_written_is_reported(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    site.add(TWO, packed(2))
    (tmp_path / "dumps" / ONE).mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ONE).write_bytes(packed(1))
    outcomes = {one.name: (one.outcome, one.reason) for one in fetch(site, tmp_path / "dumps")}
    assert outcomes == {ONE: ("failed", "cannot be written (Is a directory)"), TWO: ("fetched", None)}
    (outcome,) = ingest([str(tmp_path / "in")], tmp_path / "dumps")
    assert outcome.reason == "cannot be copied (Is a directory)"


def test_the_first_files_by_number(site: Site, tmp_path: Path) -> None:
    for number in (10, 9, 2):
        site.add(f"pubmed30n{number}.xml.gz", packed(number, size=1000))
    assert outcomes_by_name(fetch(site, tmp_path, limit=2)) == [
        ("pubmed30n2.xml.gz", "fetched"),
        ("pubmed30n9.xml.gz", "fetched"),
    ]
    site.files["notes.txt"] = b"notes"
    assert outcomes_by_name(fetch(site, tmp_path, pattern="*.txt")) == [("notes.txt", "fetched")]


def test_a_wrong_md5_is_reported_and_the_old_file_stays(site: Site, tmp_path: Path) -> None:
    old, new = packed(1), packed(2)
    site.add(ONE, old)
    site.add(TWO, old)
    fetch(site, tmp_path)
    site.add(ONE, new, md5=False)
    (outcome, other) = sorted(fetch(site, tmp_path), key=lambda one: one.name)
    assert (outcome.outcome, other.outcome) == ("failed", "unchanged")
    assert outcome.reason is not None
    assert outcome.reason.startswith("its MD5 is ")
    assert outcome.reason.endswith(" (fetched 2 times)")
    assert shown(tmp_path) == {ONE: old, TWO: old}
    assert parts(tmp_path) == []


@pytest.mark.parametrize(
    ("companion", "reason"),
    [
        (b"<html>", f"{ONE}.md5 holds '<html>', expected 'MD5({ONE})= ' and 32 hex digits"),
        (b"MD5(other)= " + b"0" * 32, f"{ONE}.md5 is about 'other', expected {ONE}"),
    ],
)
def test_an_invalid_md5(site: Site, tmp_path: Path, companion: bytes, reason: str) -> None:
    site.add(ONE, packed(1))
    right = site.files[f"{ONE}.md5"]
    site.files[f"{ONE}.md5"] = companion
    assert fetch(site, tmp_path) == [FileOutcome(ONE, "failed", reason=reason)]
    assert shown(tmp_path) == {}
    site.files[f"{ONE}.md5"] = right
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert len(site.requests(ONE)) == 1  # the part was whole


def test_md5sums_own_form(site: Site, tmp_path: Path) -> None:
    site.add(ONE, b"abc")
    site.files[f"{ONE}.md5"] = f"900150983CD24FB0D6963F7D28E17F72  {ONE}\n".encode()
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]


def test_an_md5_that_comes_in_pieces(site: Site, tmp_path: Path) -> None:
    """One read returns one segment; the second is sent long after the first was read."""
    for name in (ONE, TWO):
        site.add(name, packed(1))
    begun, read = threading.Event(), threading.Event()

    def halves(handler: Handler, content: bytes) -> None:
        handler.send(200, content[:20], length=len(content))
        begun.set()
        read.wait(60)
        handler.wfile.write(content[20:])

    def after_the_first(handler: Handler, content: bytes) -> None:
        begun.wait(60)
        handler.send(200, content)

    def before_the_second(handler: Handler, content: bytes) -> None:
        handler.send(200, content)
        read.set()

    site.faults = {f"{ONE}.md5": [halves], TWO: [after_the_first], f"{TWO}.md5": [before_the_second]}
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched"), (TWO, "fetched")]


def test_without_md5_a_truncated_gzip_is_found(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1)[:-1000], md5=False)
    (outcome,) = fetch(site, tmp_path)
    assert outcome.outcome == "failed"
    assert str(outcome.reason).startswith("gzip damaged after ")
    assert shown(tmp_path) == {}


def test_without_validators_the_content_decides(site: Site, tmp_path: Path) -> None:
    site.validators = False
    site.add(ONE, packed(1))
    site.faults[ONE] = [lambda handler, content: handler.send(200, content[:1000], length=len(content))]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert "Range" not in site.requests(ONE)[1]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "unchanged")]


def test_a_busy_server_is_retried_after_the_delay_it_asks_for(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    site.faults["listing"] = [unavailable()]
    site.faults[ONE] = [unavailable(Retry_After="1"), unavailable(Retry_After=formatdate(0, usegmt=True))]
    begun = time.monotonic()
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("wish", ["Â²", "Wed, 21 Oct 2099 07:28:00 +99999999999999"])
def test_an_invalid_retry_after_is_ignored(site: Site, tmp_path: Path, wish: str) -> None:
    """A superscript two in UTF-8, which `isdigit` accepts as a digit, and a time zone beyond the range of C."""
    site.add(ONE, packed(1))
    site.faults[ONE] = [unavailable(Retry_After=wish)]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]


def test_retries_are_limited(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    site.add(TWO, packed(2))
    site.faults[ONE] = [unavailable() for _ in range(9)]
    site.faults[TWO] = [unavailable(Retry_After="86400")]
    reasons = {one.name: one.reason for one in fetch(site, tmp_path)}
    assert reasons == {
        ONE: "the server answers 503 Service Unavailable (tried 4 times)",
        TWO: "the server answers 503 Service Unavailable and asks to wait 86,400 s; try again then",
    }
    assert len(site.requests(ONE)) == 4
    assert outcomes_by_name(fetch(site, tmp_path))[1] == (TWO, "fetched")


def test_two_requests_at_a_time_at_most(site: Site, tmp_path: Path) -> None:
    for number in range(12):
        site.add(f"f{number}.xml.gz", packed(number, size=100_000))
    fetch(site, tmp_path)
    assert site.busiest <= 2


def test_the_same_name_in_two_sources(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ONE).write_bytes(packed(2))
    outcomes = ingest([site.url, str(tmp_path / "in")], tmp_path / "dumps", retry_policy=HASTY)
    assert [(one.outcome, one.reason) for one in outcomes] == [
        ("fetched", None),
        ("failed", "an earlier source has a file of this name"),
    ]


def test_a_local_folder(tmp_path: Path) -> None:
    source, dumps = tmp_path / "in", tmp_path / "dumps"
    source.mkdir()
    one, two = packed(1), packed(2)
    (source / ONE).write_bytes(one)
    (source / TWO).write_bytes(two)
    (source / f"{TWO}.md5").write_text(f"MD5({TWO})= {'0' * 32}")
    (source / "a b.xml.gz").write_bytes(one)
    assert outcomes_by_name(ingest([str(source)], dumps)) == [
        ("a b.xml.gz", "failed"),
        (ONE, "fetched"),
        (TWO, "failed"),
    ]
    assert shown(dumps) == {ONE: one}
    (source / f"{TWO}.md5").unlink()
    (source / "a b.xml.gz").unlink()
    assert outcomes_by_name(ingest([str(source)], dumps)) == [(ONE, "unchanged"), (TWO, "fetched")]
    (source / ONE).write_bytes(two)
    os.utime(source / ONE, (1, 1))
    (source / TWO).write_bytes(two[:-9])
    assert outcomes_by_name(ingest([str(source)], dumps)) == [(ONE, "fetched"), (TWO, "failed")]
    assert shown(dumps) == {ONE: two, TWO: two}
    assert parts(dumps) == []


def test_a_check_fetches_nothing_and_reports_what_is_missing_or_differs(site: Site, tmp_path: Path) -> None:
    three, home = "pubmed30n0003.xml.gz", Home(tmp_path)
    for seed, name in enumerate((ONE, TWO)):
        site.add(name, packed(seed))
    fetch(site, home.dumps)
    assert outcomes_by_name(fetch(site, home.dumps, check=True)) == [(ONE, "unchanged"), (TWO, "unchanged")]
    before = shown(home.dumps)
    old, new = (hashlib.md5(content).hexdigest() for content in (before[TWO], b"new"))
    site.add(TWO, b"new")
    site.add(three, packed(3))
    site.add("pubmed30n0004.xml.gz", site.files[ONE])
    (home.dumps / "pubmed30n0004.xml.gz").write_bytes(site.files[ONE])  # put there by hand
    assert sorted(fetch(site, home.dumps, check=True), key=lambda one: one.name) == [
        FileOutcome(ONE, "unchanged"),
        FileOutcome(TWO, "failed", reason=f"its MD5 is {old}, but the server lists {new}"),
        FileOutcome(three, "failed", reason="listed, but not fetched"),
        FileOutcome("pubmed30n0004.xml.gz", "unchanged"),
    ]
    (home.dumps / "pubmed30n0004.xml.gz").unlink()
    assert shown(home.dumps) == before


def test_a_check_of_a_folder(tmp_path: Path) -> None:
    source, dumps = tmp_path / "in", tmp_path / "dumps"
    source.mkdir()
    (source / ONE).write_bytes(packed(1))
    ingest([str(source)], dumps)
    (source / TWO).write_bytes(packed(2))
    assert outcomes_by_name(ingest([str(source)], dumps, check=True)) == [(ONE, "unchanged"), (TWO, "failed")]
    os.utime(source / ONE, (1, 1))
    assert ingest([str(source)], dumps, check=True) == [
        FileOutcome(ONE, "failed", reason="changed since it was copied"),
        FileOutcome(TWO, "failed", reason="listed, but not copied"),
    ]
    assert shown(dumps).keys() == {ONE}


def test_gaps_in_the_numbers_of_pubmed_files(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert find_gaps(home) == []
    home.dumps.mkdir()
    for name in ("26n0001.xml.gz", "26n0003.xml", "26n0003.xml.md5", "26n0005.xml.gz.md5", "27n0001.xml.gz", "s.xml"):
        (home.dumps / f"pubmed{name}").touch()
    annotated = home.documents(SourceKey("pubmed26n1274.xml.gz", "0" * 16))
    annotated.parent.mkdir()
    annotated.touch()
    assert find_gaps(home) == [
        f"{names}: missing between the existing files; fetch with e2emern ingest, then annotate"
        for names in ("pubmed26n0002", "pubmed26n0004 to pubmed26n1273")
    ]


INGEST = (
    "import sys; from pathlib import Path; from e2emern.tasks.ingest import RetryPolicy, ingest\n"
    "ingest([sys.argv[1]], Path(sys.argv[2]), retry_policy=RetryPolicy(first=0.01))"
)


def test_killed_while_it_fetches(site: Site, tmp_path: Path) -> None:
    """The server sends one half and waits until the process is killed; the next run only requests the other half."""
    content = packed(1, size=4_000_000)
    site.add(ONE, content)
    sent, killed = threading.Event(), threading.Event()

    def hold(handler: Handler, content: bytes) -> None:
        handler.send(200, content[:1_500_000], length=len(content), ETag=handler.etag("", content))
        handler.wfile.flush()
        sent.set()
        killed.wait(60)

    site.faults[ONE] = [hold]
    process = subprocess.Popen([sys.executable, "-c", INGEST, site.url, str(tmp_path / "dumps")], cwd=ROOT)
    assert sent.wait(60)
    part = tmp_path / "dumps" / ".ingest" / f"{ONE}.part"
    while not (part.exists() and part.stat().st_size >= 1_000_000):
        assert process.poll() is None
    with pytest.raises(InputError, match="another ingest fetches into it"):
        fetch(site, tmp_path / "dumps")
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()
    assert shown(tmp_path / "dumps") == {}
    assert outcomes_by_name(fetch(site, tmp_path / "dumps")) == [(ONE, "fetched")]
    assert shown(tmp_path / "dumps") == {ONE: content}
    assert int(site.requests(ONE)[1]["Range"].removeprefix("bytes=").removesuffix("-")) >= 1_000_000


def test_killed_before_the_file_is_renamed(site: Site, tmp_path: Path) -> None:
    """The process dies between record and renaming: the partial file is complete, and nothing is fetched again."""
    content = packed(1)
    site.add(ONE, content)
    dying = (
        "import os, signal; from pathlib import Path\n"
        "Path.replace = lambda self, target, replace=Path.replace: (\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if self.suffix == '.part' else replace(self, target))\n"
    )
    killed = subprocess.run([sys.executable, "-c", dying + INGEST, site.url, str(tmp_path / "dumps")], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert shown(tmp_path / "dumps") == {}
    assert outcomes_by_name(fetch(site, tmp_path / "dumps")) == [(ONE, "fetched")]
    assert shown(tmp_path / "dumps") == {ONE: content}
    assert len(site.requests(ONE)) == 1

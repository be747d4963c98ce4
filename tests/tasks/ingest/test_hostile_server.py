"""Servers that send without end, too slowly, too much or only a part, and addresses with passwords."""

from __future__ import annotations

import base64
import gzip
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.tasks.ingest import FileOutcome, Limits, ingest
from e2emern.tasks.ingest.addresses import without_secrets
from tests.tasks.ingest.fetching import HASTY, ONE, TWO, fetch, outcomes_by_name, packed, parts, shown
from tests.tasks.ingest.serving import Fault, Handler, Site

XML = b"<?xml version='1.0'?>\n<PubmedArticleSet>" + b"<PubmedArticle/>" * 1000 + b"</PubmedArticleSet>\n"


def until_closed(handler: Handler, content: bytes) -> None:
    """Send a body whose end is the end of the connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True


def endless(handler: Handler, content: bytes) -> None:
    until_closed(handler, b"")
    with suppress(OSError):  # the client closes the connection
        while True:
            handler.wfile.write(bytes(100_000))


def drip(*, headers: bool) -> Fault:
    """Send one byte at a time, of the headers or of the body, until the client closes the connection."""

    def answer(handler: Handler, content: bytes) -> None:
        if headers:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            handler.send(200, b"", length=len(content))
        with suppress(OSError):
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)

    return answer


def test_a_body_without_end_is_refused_at_the_limit(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1), md5=False)
    site.add(TWO, packed(2, size=6_000_000))
    site.faults[ONE] = [endless]
    outcomes = fetch(site, tmp_path, limits=Limits(largest=2_000_000, least_free=0))
    reason = "exceeds 0.002 GB; allow larger files (setting max_gb, or --max-gb) if you trust its source"
    assert sorted(outcomes, key=lambda one: one.name) == [
        FileOutcome(ONE, "failed", reason=reason),
        FileOutcome(TWO, "failed", reason=reason),
    ]
    assert shown(tmp_path) == {}
    assert parts(tmp_path) == []


def test_a_disk_that_would_be_full_is_left_free(site: Site, tmp_path: Path) -> None:
    for name in (ONE, TWO):
        site.add(name, packed(1))
    site.faults[ONE] = [until_closed]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "local.xml.gz").write_bytes(packed(3))
    limits = Limits(least_free=10**18)
    outcomes = ingest([site.url, str(tmp_path / "in")], tmp_path / "dumps", retry_policy=HASTY, limits=limits)
    assert {one.outcome for one in outcomes} == {"failed"}
    assert len(outcomes) == 3
    for one in outcomes:
        assert str(one.reason).startswith("the disk has ")
        assert str(one.reason).endswith(" MB free, of which 1,000,000,000,000 MB are kept free")
    assert shown(tmp_path / "dumps") == {}
    assert parts(tmp_path / "dumps") == []


@pytest.mark.parametrize(
    ("headers", "reason"),
    [(False, "the server sends less than 10,000 bytes per second (tried 2 times)"), (True, None)],
)
def test_sending_one_byte_at_a_time_is_stopped(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: bool, reason: str | None
) -> None:
    monkeypatch.setattr("e2emern.tasks.ingest.http._CONNECT", 0.2)
    site.add(ONE, packed(1))
    site.faults[ONE] = [drip(headers=headers)] * 2
    hasty = replace(HASTY, tries=2, read_timeout=0.3)
    (outcome,) = ingest([site.url], tmp_path, retry_policy=hasty)
    assert outcome == FileOutcome(ONE, "failed", reason=reason or "no answer within 0.3 s (tried 2 times)")
    site.faults["listing"] = [drip(headers=False)] * 2
    (outcome,) = ingest([site.url], tmp_path, retry_policy=hasty)
    assert outcome.reason == "the server sends less than 10,000 bytes per second (tried 2 times)"


def test_a_body_that_ends_with_the_connection_must_be_complete(site: Site, tmp_path: Path) -> None:
    files = {"whole.xml": XML, "cut.xml": XML[:-3], "cut.xml.gz": gzip.compress(XML)[:-9], "some.json": b'{"a": 1}'}
    for name, content in files.items():
        site.add(name, content, md5=False)
        site.faults[name] = [until_closed] * 2
    reasons = {one.name: str(one.reason) for one in fetch(site, tmp_path, pattern="*")}
    assert shown(tmp_path) == {"whole.xml": XML}
    assert reasons["cut.xml"] == (
        "not well-formed XML (unclosed token: line 2, column 16018), and the server gives neither a length nor an MD5 "
        "(fetched 2 times)"
    )
    assert reasons["cut.xml.gz"].startswith("gzip damaged after ")
    assert reasons["some.json"] == (
        "the server gives neither a length nor an MD5, so a truncated file could not be detected; refused "
        "(fetched 2 times)"
    )
    site.add("some.json", files["some.json"])
    site.faults["some.json"] = [until_closed]
    assert ("some.json", "fetched") in outcomes_by_name(fetch(site, tmp_path, pattern="*"))


def test_a_chunked_body_has_a_detectable_end(site: Site, tmp_path: Path) -> None:
    def chunked(*, cut: bool) -> Fault:
        def answer(handler: Handler, content: bytes) -> None:
            handler.protocol_version = "HTTP/1.1"
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(
                f"{len(content):x}\r\n".encode() + content + b"\r\n" + b"0\r\n\r\n"[: 0 if cut else None]
            )
            handler.close_connection = True

        return answer

    site.add("some.json", b'{"a": 1}', md5=False)
    site.faults["some.json"] = [chunked(cut=True), chunked(cut=False)]
    assert outcomes_by_name(fetch(site, tmp_path, pattern="*")) == [("some.json", "fetched")]
    assert len(site.requests("some.json")) == 2


def test_a_password_is_refused_and_named_nowhere(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    host = site.url.removeprefix("http://")
    sources = [
        f"http://user:s3cret@{host}",
        f"http://user:s3/cr@et@{host}",
        f"{site.url}?key=s3cret",
        "ftp://s3cret@h/",
    ]
    outcomes = ingest(sources, tmp_path, retry_policy=HASTY)
    assert [one.name for one in outcomes] == [site.url, site.url, site.url, "ftp://h/"]
    assert "~/.netrc" in str(outcomes[0].reason)
    assert site.asked == []
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("s3" in str(each) for each in (outcomes, written))


def test_a_password_of_netrc_is_sent_and_not_kept(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    site.add(ONE, packed(1))
    assert outcomes_by_name(fetch(site, tmp_path / "dumps")) == [(ONE, "fetched")]
    sent = "Basic " + base64.b64encode(b"user:s3cret").decode()
    assert {headers.get("Authorization") for _, headers in site.asked} == {sent}
    assert not any(b"s3cret" in path.read_bytes() for path in (tmp_path / "dumps").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://host/a/", "https://host/a/"),
        ("https://user:p@host/a/?k=1#f", "https://host/a/"),
        ("https://us/er:p?@@host:8/", "https://host:8/"),
        ("HTTP:/user:p@host/", "HTTP:/host/"),
        ("/mnt/a@b?c#d", "/mnt/a@b?c#d"),
        ("a@b", "a@b"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, clean: str) -> None:
    assert without_secrets(address) == clean

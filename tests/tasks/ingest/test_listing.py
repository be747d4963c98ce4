"""Listings of servers: which links are files, and which names and redirects are refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from e2emern.tasks.ingest import RetryPolicy, ingest
from tests.tasks.ingest.fetching import ONE, TWO, fetch, outcomes_by_name, packed
from tests.tasks.ingest.serving import Handler, Site


def test_a_name_is_never_a_path(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    hostile = [
        "../../up.xml.gz",
        "/etc/absolute.xml.gz",
        "//evil.example/host.xml.gz",
        "http://evil.example/far.xml.gz",
        "%2e%2e%2fencoded.xml.gz",
        "a%5cb.xml.gz",
        "asked.xml.gz?x=1",
        "deep/below.xml.gz",
        ".hidden.xml.gz",
        "nul%00.xml.gz",
        "new%0aline.xml.gz",
        "C:drive.xml.gz",
        f"{'x' * 300}.xml.gz",
        "http://[::1/bracket.xml.gz",
        "..",
    ]
    site.links = hostile
    outcomes = fetch(site, tmp_path / "in" / "dumps")
    assert [one.name for one in outcomes if one.outcome == "fetched"] == [ONE]
    assert all("not followed" in str(one.reason) for one in outcomes if one.outcome == "failed")
    assert {"up.xml.gz", "encoded.xml.gz", "asked.xml.gz", "below.xml.gz", ".hidden.xml.gz"} <= {
        one.name for one in outcomes if one.outcome == "failed"
    }
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.suffix == ".gz"]
    assert found == [Path("in/dumps") / ONE]
    assert {path for path, _ in site.asked} == {"/dumps/", f"/dumps/{ONE}", f"/dumps/{ONE}.md5"}


def test_a_redirect_is_not_followed(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    site.faults[ONE] = [lambda handler, content: handler.send(302, b"", Location="http://evil.example/")]
    (outcome,) = fetch(site, tmp_path)
    assert outcome.reason == (
        "the server answers 302 Found and redirects to 'http://evil.example/'; name that address instead"
    )
    site.faults["listing"] = [lambda handler, content: handler.send(301, b"", Location="https://secure.example/")]
    (outcome,) = fetch(site, tmp_path)
    assert (outcome.name, outcome.outcome) == (site.url, "failed")
    assert "https://secure.example/" in str(outcome.reason)


def test_a_page_without_files(site: Site, tmp_path: Path) -> None:
    def packed_page(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/gzip")
        handler.end_headers()

    site.faults["listing"] = [lambda handler, content: handler.send(200, b"<html></html>"), packed_page]
    assert [fetch(site, tmp_path)[0].reason for _ in range(2)] == [
        "the listing names no file that matches *.xml.gz",
        "the server answers with 'application/gzip', expected a page that lists files",
    ]
    assert [path for path, _ in site.asked] == ["/dumps/"] * 2


def test_a_page_without_end_is_refused(site: Site, tmp_path: Path) -> None:
    def endless(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        with suppress(OSError):  # the other side hangs up
            while True:
                handler.wfile.write(b" " * 65_536)

    site.faults["listing"] = [endless]
    assert fetch(site, tmp_path)[0].reason == (
        "the server answers with more than 16,777,216 bytes, expected a page of links"
    )


def test_links_are_read_as_a_browser_reads_them(site: Site, tmp_path: Path) -> None:
    for name in (ONE, TWO, "three.xml.gz"):
        site.add(name, packed(1))
    page = f'<A class=x HREF={ONE}>1</A><a href="./{TWO}">2</a><a title="a > b" href="/dumps/three.xml.gz">3</a>'
    site.faults["listing"] = [lambda handler, content: handler.send(200, page.encode())]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched"), (TWO, "fetched"), ("three.xml.gz", "fetched")]


def test_an_unlistable_source_does_not_stop_others(site: Site, tmp_path: Path) -> None:
    site.add(ONE, packed(1))
    (tmp_path / "empty").mkdir()
    bad = [
        f"{site.url}none/",
        "http://127.0.0.1:1/dumps/",
        f"{site.url}?x=1",
        str(tmp_path / "none"),
        str(tmp_path / "empty"),
        str(tmp_path / "dumps"),
        "ftp://host/folder",
        "http://[::1/",
        "http://127.0.0.1:80a/",
        "http://127.0.0.1:99999/",
        "http://a..b/",
    ]
    outcomes = ingest([*bad, site.url], tmp_path / "dumps", retry_policy=RetryPolicy(tries=2, first=0.01))
    assert [one.name for one in outcomes] == [*bad[:2], site.url, *bad[3:], ONE]
    reasons = [str(one.reason) for one in outcomes[:-1]]
    assert reasons[0] == "the server answers 404 Not Found"
    assert reasons[1].endswith("(tried 2 times)")
    assert reasons[2:] == [
        "expected the address of a folder, such as https://host/folder/",
        "cannot be listed (No such file or directory)",
        "no file matches *.xml.gz",
        "is the download folder itself; annotate it directly",
        "expected a folder, or an http or https address of one",
        "Invalid IPv6 URL",
        "Port could not be cast to integer value as '80a'",
        "Port out of range 0-65535",
        "encoding with 'idna' codec failed (UnicodeError: label empty or too long)",
    ]
    assert outcomes[-1].outcome == "fetched"

"""Downloads that end too early resume at the same byte, unless the file has changed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.ingest.fetching import ONE, fetch, outcomes_by_name, packed, shown
from tests.tasks.ingest.serving import Handler, Site, dropped


def test_a_dropped_transfer_resumes_where_it_ended(site: Site, tmp_path: Path) -> None:
    content = packed(1)
    site.add(ONE, content)
    site.faults[ONE] = [dropped(100_000)]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert shown(tmp_path) == {ONE: content}
    first, second = site.requests(ONE)
    assert "Range" not in first
    start = int(second["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 100_000
    assert second["If-Range"].startswith('"')


def test_a_transfer_without_ranges_restarts(site: Site, tmp_path: Path) -> None:
    content = packed(1)
    site.add(ONE, content)

    def whole(handler: Handler, content: bytes) -> None:
        handler.send(200, content, ETag=handler.etag("", content))

    site.faults[ONE] = [dropped(100_000), whole]
    fetch(site, tmp_path)
    assert shown(tmp_path) == {ONE: content}


def test_a_file_that_changed_between_two_parts_is_restarted(site: Site, tmp_path: Path) -> None:
    old, new = packed(1), packed(2)
    site.add(ONE, old)

    def drop_and_change(handler: Handler, content: bytes) -> None:
        dropped(100_000)(handler, content)
        site.add(ONE, new)

    site.faults[ONE] = [drop_and_change]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert shown(tmp_path) == {ONE: new}


@pytest.mark.parametrize(
    "sent_range", ["bytes 0-9/10", "bytes 100000-1/2", "nonsense", "", f"bytes {'1' * 5000}-9/9"], ids=range(5)
)
def test_parts_of_different_files_are_not_joined(site: Site, tmp_path: Path, sent_range: str) -> None:
    content = packed(1)
    site.add(ONE, content)

    def other(handler: Handler, content: bytes) -> None:
        handler.send(206, b"0123456789", Content_Range=sent_range)

    site.faults[ONE] = [dropped(100_000), other]
    fetch(site, tmp_path)
    assert shown(tmp_path) == {ONE: content}


def test_parts_with_different_tags_are_not_joined(site: Site, tmp_path: Path) -> None:
    content = packed(1)
    site.add(ONE, content)

    def other(handler: Handler, content: bytes) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        sent_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send(206, bytes(len(content) - start), Content_Range=sent_range, ETag='"other"')

    site.faults[ONE] = [dropped(100_000), other]
    fetch(site, tmp_path)
    assert shown(tmp_path) == {ONE: content}


def test_a_wrong_content_length(site: Site, tmp_path: Path) -> None:
    content = packed(1)
    site.add(ONE, content)

    def longer(handler: Handler, content: bytes) -> None:
        handler.send(200, content, length=len(content) + 5)

    def shorter(handler: Handler, content: bytes) -> None:
        handler.send(200, content, length=len(content) - 5)

    site.faults[ONE] = [longer, shorter]
    assert outcomes_by_name(fetch(site, tmp_path)) == [(ONE, "fetched")]
    assert shown(tmp_path) == {ONE: content}

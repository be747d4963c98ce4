"""Fetch from an HTTP listing, such as NLM's baseline and updatefiles: resume, verify, retry, two files at a time.

Trust nothing from the server: follow a link only if it names a file in the listing's own folder, never follow a
redirect, and resume a partial file only if the server confirms that the file is unchanged (If-Range, RFC 9110).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from lxml import etree

from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest.addresses import without_secrets
from e2emern.tasks.ingest.download_folder import DownloadFolder, Version, is_safe, matches, read_md5
from e2emern.tasks.ingest.outcome import FileOutcome, Log, RetryPolicy
from e2emern.warehouse.layout import natural

PARALLEL = 2  # more would burden the server
_CONNECT = 30.0  # seconds
_BUFFER = 1 << 18  # bytes
_LONGEST_MD5 = 4096  # bytes
_LONGEST_PAGE = 1 << 24  # bytes of a listing
_DOWNLOADS = 2  # attempts for a file whose MD5 is wrong
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})  # status codes that a retry may resolve
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)\Z")

_T = TypeVar("_T")


class FetchError(Exception):
    """A request failed, and a retry would not help."""


class _TransientError(Exception):
    """A request failed, and a retry may help; `wait` is the delay in seconds that the server asks for."""

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch_listing(
    url: str,
    downloads: DownloadFolder,
    *,
    pattern: str,
    limit: int | None,
    taken: set[str],
    retry_policy: RetryPolicy,
    log: Log,
    check: bool = False,
) -> None:
    """Fetch the first `limit` matching files of a listing, and report the outcome of each to `log`.

    With `check`, fetch none: a file that is missing, or differs from its MD5 in the listing, is reported as failed.
    `taken` are the names that earlier sources used; the names of this one are added. Raises InputError if the listing
    cannot be read, or names no matching file.
    """
    shown = without_secrets(url)
    try:
        parts = urlsplit(url)
        is_folder = parts.hostname and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError as error:
        raise InputError(str(error), path=shown) from error
    if not is_folder:
        raise InputError("expected the address of a folder, such as https://host/folder/", path=shown)
    listing = _Listing(url.rstrip("/") + "/", downloads, retry_policy)
    asyncio.run(listing.fetch(pattern, limit, taken, log, check=check))


class _Listing:
    """One listing: the URL of its folder, and the HTTP session."""

    def __init__(self, folder: str, downloads: DownloadFolder, retry_policy: RetryPolicy) -> None:
        self._folder = folder
        self._downloads = downloads
        self._retry_policy = retry_policy
        self._companions: set[str] = set()
        self._corrupt: dict[str, int] = {}

    async def fetch(self, pattern: str, limit: int | None, taken: set[str], log: Log, *, check: bool) -> None:
        async with aiohttp.ClientSession(
            raise_for_status=_check_status,
            auto_decompress=False,  # keep files compressed
            headers={"Accept-Encoding": "identity", "User-Agent": "e2emern"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),  # `_get` and `_body` bound the reads
            trust_env=True,  # proxies, and the user names and passwords of ~/.netrc
        ) as self._session:
            try:
                links = await self._with_retries(self._links)
            except (FetchError, ValueError) as error:  # ValueError: an invalid address
                raise InputError(str(error), path=self._folder) from error
            waiting = iter(self._names(links, pattern, limit, taken, log))

            async def work() -> None:
                for name in waiting:
                    log(await (self._compare(name) if check else self._fetch(name)))

            async with asyncio.TaskGroup() as workers:
                for _ in range(PARALLEL):
                    workers.create_task(work())

    async def _links(self) -> list[str]:
        """Return the links of the folder's page, as written."""
        async with self._get(self._folder) as response:
            found = response.headers.get("Content-Type", "text/html")
            if "html" not in found.lower():
                raise FetchError(f"the server answers with {found[:60]!r}, expected a page that lists files")
            written = await self._read(response, _LONGEST_PAGE + 1)
        if len(written) > _LONGEST_PAGE:
            raise FetchError(f"the server answers with more than {_LONGEST_PAGE:,} bytes, expected a page of links")
        page = etree.HTML(b"<html>" + written)
        return [link for anchor in page.iter("a") if (link := anchor.get("href"))]

    def _names(self, links: list[str], pattern: str, limit: int | None, taken: set[str], log: Log) -> list[str]:
        """Return the names to fetch, in order; report refused ones at once."""
        names, refused = set(), {}
        for link in links:
            name = unquote(re.split("[?#]", link)[0]).rpartition("/")[2]
            plain = self._is_of_folder(name, link)
            if plain and name.endswith(".md5"):
                self._companions.add(name)
            elif matches(name, pattern) and plain:
                names.add(name)
            elif name and matches(name, pattern):  # no name: a folder, or another order of the listing
                shown = repr(without_secrets(link)[:200])
                refused[name] = f"its link {shown} is not a plain name in the listing's folder; not followed"
        if not names and not refused:
            raise InputError(f"the listing names no file that matches {pattern}", path=self._folder)
        chosen = sorted(names, key=natural)[:limit]
        refused |= {name: "an earlier source has a file of this name" for name in chosen if name in taken}
        for name, reason in sorted(refused.items()):
            log(FileOutcome(name, "failed", reason=reason))
        chosen = [name for name in chosen if name not in taken]
        taken.update(chosen)
        return chosen

    def _is_of_folder(self, name: str, link: str) -> bool:
        """Return whether a link leads to the file of this name in the listing's own folder, on the same host."""
        try:
            return is_safe(name) and urljoin(self._folder, link) == urljoin(self._folder, name)
        except ValueError:
            return False

    async def _fetch(self, name: str) -> FileOutcome:
        def size() -> int:
            part = self._downloads.part(name)
            return part[1] if part else 0

        try:
            return await self._with_retries(lambda: self._attempt(name), size)
        except FetchError as error:
            return FileOutcome(name, "failed", reason=str(error))
        except OSError as error:
            return FileOutcome(name, "failed", reason=f"cannot be written ({error.strerror or error})")

    async def _compare(self, name: str) -> FileOutcome:
        """Check that a listed file is in the folder, and has the MD5 of its companion."""
        try:
            found = await asyncio.to_thread(self._downloads.md5, name)
            if found is None:
                return FileOutcome(name, "failed", reason="listed, but not fetched")
            if f"{name}.md5" in self._companions:
                expected = await self._with_retries(lambda: self._md5(name))
                if found != expected:
                    return FileOutcome(name, "failed", reason=f"its MD5 is {found}, but the server lists {expected}")
        except FetchError as error:
            return FileOutcome(name, "failed", reason=str(error))
        except OSError as error:
            return FileOutcome(name, "failed", reason=f"cannot be read ({error.strerror or error})")
        return FileOutcome(name, "unchanged")

    async def _attempt(self, name: str) -> FileOutcome:
        """Request a file, or the missing rest of it, once; finish it if it is complete."""
        url = self._folder + name
        kept, part = self._downloads.kept(name), self._downloads.part(name)
        if kept and kept.version.url != url:
            kept = None
        if part and (part[0].url != url or not _validator(part[0])):
            part = None
        if part and part[1] == part[0].bytes:
            return await self._finish(name, part[0])
        headers = {}
        if part and part[1]:
            headers = {"Range": f"bytes={part[1]}-", "If-Range": _validator(part[0])}
        elif kept:
            asked = {"If-None-Match": kept.version.etag, "If-Modified-Since": kept.version.modified}
            headers = {key: value for key, value in asked.items() if value}
        async with self._get(url, headers) as response:
            if response.status == 304 and kept:
                return FileOutcome(name, "unchanged", kept.bytes)
            found = Version(
                url=url,
                etag=response.headers.get("ETag"),
                modified=response.headers.get("Last-Modified"),
                bytes=response.content_length,
            )
            if response.status == 206 and part:
                version = part[0]
                self._check_range(name, response.headers.get("Content-Range", ""), found, *part)
                file = self._downloads.resume(name)
            elif response.status == 200:
                if kept and kept.version.same(found):
                    return FileOutcome(name, "unchanged", kept.bytes)
                version = found
                file = self._downloads.begin(name, version)
            else:
                self._downloads.discard(name)
                raise _TransientError(f"the server answers {response.status} {response.reason}")
            with file:
                await self._write(name, file, response)
            delimited = version.bytes is not None or "Transfer-Encoding" in response.headers
        size = self._downloads.part(name)
        if version.bytes is not None and size and size[1] != version.bytes:
            if size[1] > version.bytes:
                self._downloads.discard(name)
            raise _TransientError(f"found {size[1]:,} bytes, expected {version.bytes:,}")
        return await self._finish(name, version, delimited=delimited)

    async def _write(self, name: str, file: BinaryIO, response: aiohttp.ClientResponse) -> None:
        """Write a body to the end of a partial file. Raises FetchError if the file exceeds a limit."""
        size, left = file.tell(), response.content_length or 0
        self._check_limits(name, size + left, left)
        async for chunk in self._body(response):
            size, left = size + len(chunk), max(left - len(chunk), 0)
            self._check_limits(name, size + left, left + len(chunk))
            file.write(chunk)

    def _check_limits(self, name: str, size: int, more: int) -> None:
        if fault := self._downloads.check_limits(size, more):
            self._downloads.discard(name)
            raise FetchError(fault)

    def _check_range(self, name: str, content_range: str, found: Version, version: Version, size: int) -> None:
        """Check that an answer continues the partial file in the same version; otherwise discard the file and raise."""
        match = _RANGE.match(content_range)
        begins = match and int(match[1]) == size and match[2] in ("*", str(version.bytes))
        if not begins or (found.etag or version.etag, found.modified or version.modified) != (
            version.etag,
            version.modified,
        ):
            self._downloads.discard(name)
            raise _TransientError(
                f"the server answers with {content_range[:60]!r}, expected what follows {size:,} bytes"
            )

    async def _finish(self, name: str, version: Version, *, delimited: bool = True) -> FileOutcome:
        kept = self._downloads.kept(name)
        md5 = await asyncio.to_thread(self._downloads.digest, name)
        if f"{name}.md5" in self._companions:
            expected = await self._md5(name)
            fault = None if md5 == expected else f"its MD5 is {md5}, but {name}.md5 says {expected}"
        else:
            fault = await asyncio.to_thread(self._downloads.check_end, name, delimited=delimited)
        if fault:
            self._downloads.discard(name)
            self._corrupt[name] = self._corrupt.get(name, 0) + 1
            if self._corrupt[name] >= _DOWNLOADS:
                raise FetchError(f"{fault} (fetched {_DOWNLOADS} times)")
            raise _TransientError(fault)
        size = self._downloads.finish(name, version, md5).bytes
        return FileOutcome(name, "unchanged" if kept and kept.md5 == md5 else "fetched", size)

    async def _md5(self, name: str) -> str:
        async with self._get(f"{self._folder}{name}.md5") as response:
            content = await self._read(response, _LONGEST_MD5)
        try:
            return read_md5(content.decode(errors="replace"), name=name)
        except ValueError as error:
            raise FetchError(str(error)) from error

    @asynccontextmanager
    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and yield the response once its headers have arrived."""
        async with asyncio.timeout(_CONNECT + self._retry_policy.read_timeout):
            response = await self._session.get(url, headers=headers, allow_redirects=False)
        async with response:
            yield response

    async def _body(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body of a response in pieces. Raises TimeoutError or _TransientError if it comes too slowly."""
        least, window = self._retry_policy.least_rate, self._retry_policy.read_timeout
        begun, received = time.monotonic(), 0
        while True:
            async with asyncio.timeout(window):  # a chunk size may come byte by byte, too
                piece = await response.content.read(_BUFFER)
            if not piece:
                return
            yield piece
            received += len(piece)
            if (seconds := time.monotonic() - begun) >= window:
                if received < least * seconds:
                    raise _TransientError(f"the server sends less than {least:,.0f} bytes per second")
                begun, received = time.monotonic(), 0

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """Return the body of a response, at most `most` bytes of it."""
        body = b""
        async for piece in self._body(response):
            body += piece
            if len(body) >= most:
                break
        return body[:most]

    async def _with_retries(self, attempt: Callable[[], Awaitable[_T]], size: Callable[[], int] = lambda: 0) -> _T:
        """Retry transient errors with increasing delays. Raises FetchError with the last reason."""
        retry_policy, tries, reached = self._retry_policy, 0, size()
        while True:
            wait = 0.0
            try:
                return await attempt()
            except _TransientError as error:
                reason, wait = str(error), error.wait
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = " ".join(str(error).split())[:200] or f"no answer within {retry_policy.read_timeout:g} s"
            tries += 1
            if size() - reached >= retry_policy.progress:
                tries, reached = 1, size()
            if tries >= retry_policy.tries:
                raise FetchError(f"{reason} (tried {tries} times)")
            if wait > retry_policy.longest:
                raise FetchError(f"{reason} and asks to wait {wait:,.0f} s; try again then")
            await asyncio.sleep(max(wait, min(retry_policy.longest, retry_policy.first * 2 ** (tries - 1))))


async def _check_status(response: aiohttp.ClientResponse) -> None:
    """Raise FetchError or _TransientError for a status that is neither success, partial content nor not modified."""
    answer = f"the server answers {response.status} {response.reason}"
    if response.status in TRANSIENT:
        raise _TransientError(answer, wait=retry_after(response.headers.get("Retry-After", "")))
    if response.status in (301, 302, 303, 307, 308):
        raise FetchError(
            f"{answer} and redirects to {without_secrets(response.headers.get('Location', ''))[:200]!r}; "
            "name that address instead"
        )
    if response.status >= 400 and response.status != 416:
        raise FetchError(answer)


def retry_after(header: str) -> float:
    """Return the seconds to wait from a Retry-After header, a number or a date; 0 if it is neither."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _validator(version: Version) -> str:
    """Return the validator for If-Range: a strong entity tag or the date; empty if there is neither."""
    strong = version.etag if version.etag and not version.etag.startswith("W/") else None
    return strong or version.modified or ""

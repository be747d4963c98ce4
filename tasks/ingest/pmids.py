"""Fetch PubMed records by PMID from NCBI's E-utilities, in batches that are kept as files of the home.

See E-utilities Help of NCBI, chapters NBK25499 (EFetch) and NBK25497 (limits). NCBI allows three requests per second,
ten with an API key; it wants long lists of ids sent by POST, and `tool` and `email` in each request. A hidden file
next to each batch lists the PMIDs that were requested, so that none is requested twice. PMIDs that the answer lacks are
appended to it as `<NotFound>`, which the parser turns into failures.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from e2emern.model.document import Document
from e2emern.model.progress import Progress, silent
from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.ingest.addresses import check_address
from e2emern.tasks.ingest.http import TRANSIENT, retry_after
from e2emern.tasks.ingest.outcome import RetryPolicy
from e2emern.tasks.parsers import Failure, parse
from e2emern.tasks.parsers.citation import PMID
from e2emern.warehouse.files import atomic_write

BATCH = 200  # PMIDs of a request
TOOL = "e2emern"
EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/"

_LARGEST = 100_000_000  # bytes of an answer
_HEADER = re.compile(r"(?i)#.*|\W*(?:pmids?|pubmed[ _]?ids?)\W*")
_NO_IDS = b"ID list is empty"  # the answer to a list of which PubMed knows no id


@dataclass(frozen=True, slots=True, kw_only=True)
class Eutils:
    """A server of E-utilities, and how to send it requests."""

    url: str = EUTILS
    api_key: str | None = field(default=None, repr=False)
    email: str | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def interval(self) -> float:
        """Minimum seconds between two requests."""
        return 0.1 if self.api_key else 1 / 3


class _FetchError(Exception):
    """A batch cannot be fetched; `wait` is how long to wait before another try, None if none would help."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def read_pmids(given: str) -> tuple[list[int], dict[str, str]]:
    """Return the PMIDs of a file, one or more per line, or of a list such as `1,2`; and the reason for each bad entry.

    Raises InputError if it has none.
    """
    found: dict[int, None] = {}
    problems: dict[str, str] = {}
    path = Path(given)
    if re.fullmatch(r"[0-9\s,;]+", given):
        lines: Iterable[str] = [given]
    else:
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InputError(f"neither a list of PMIDs nor a file of them ({reason})", path=given[:200]) from error
    for number, line in enumerate(lines, 1):
        if number == 1 and _HEADER.fullmatch(line):
            continue
        for entry in filter(None, re.split(r"[\s,;]+", line)):
            if PMID.fullmatch(entry):
                found[int(entry)] = None
            else:
                problems[f"{path.name}, line {number}, {entry[:60]!r}"] = "not a PMID"
    if not found:
        raise InputError("holds no PMID", path=given[:200])
    return list(found), problems


def fetch_pmids(
    pmids: Sequence[int], folder: Path, *, eutils: Eutils, progress: Progress = silent
) -> tuple[list[Path], dict[str, str]]:
    """Fetch missing records into a folder; return the files with all of these records, and why batches failed.

    `progress` counts PMIDs. Raises InputError if the address cannot be used.
    """
    check_address(eutils.url)
    known = _known(folder)
    missing = [pmid for pmid in pmids if pmid not in known]
    progress("PMIDs", len(pmids) - len(missing), len(pmids))
    problems = asyncio.run(_fetch(missing, folder, eutils, progress, of=len(pmids))) if missing else {}
    known = _known(folder)
    return list(dict.fromkeys(known[pmid] for pmid in pmids if pmid in known)), problems


def _known(folder: Path) -> dict[int, Path]:
    """Return the file for which each PMID was requested."""
    found: dict[int, Path] = {}
    for record in sorted(folder.glob(".pubmed-*.json")):
        file = folder / record.name.removeprefix(".").removesuffix(".json")
        if file.exists():
            found |= dict.fromkeys(json.loads(record.read_bytes()), file)
    return found


async def _fetch(missing: list[int], folder: Path, eutils: Eutils, progress: Progress, *, of: int) -> dict[str, str]:
    problems: dict[str, str] = {}
    done = of - len(missing)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=eutils.retry_policy.read_timeout)
    async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": TOOL}, trust_env=True) as session:
        asker = _Asker(session, eutils)
        for at in range(0, len(missing), BATCH):
            batch = missing[at : at + BATCH]
            try:
                _keep(batch, await asker.ask(batch, folder), folder)
            except _FetchError as error:
                problems[f"{len(batch):,} PMIDs from {batch[0]} to {batch[-1]}"] = str(error)
            done += len(batch)
            progress("PMIDs", done, of)
    return problems


class _Asker:
    """Sends requests no faster than allowed."""

    def __init__(self, session: aiohttp.ClientSession, eutils: Eutils) -> None:
        self._session = session
        self._eutils = eutils
        self._next = 0.0

    async def ask(self, pmids: list[int], folder: Path) -> bytes:
        """Return the records of these PMIDs as PubMed XML, checked by its parser. Raises _FetchError."""
        policy = self._eutils.retry_policy
        for tries in range(1, policy.tries + 1):
            try:
                return _checked(await self._once(pmids), folder)
            except _FetchError as error:
                reason, wait = str(error), error.wait
            except (aiohttp.ClientError, TimeoutError) as error:
                reason, wait = " ".join(str(error).split())[:200] or "no answer", 0.0
            if wait is None:
                raise _FetchError(reason)
            if wait > policy.longest:
                raise _FetchError(f"{reason} and asks to wait {wait:,.0f} s; try again then")
            if tries < policy.tries:
                await asyncio.sleep(max(wait, min(policy.longest, policy.first * 2 ** (tries - 1))))
        raise _FetchError(f"{reason} (tried {policy.tries} times)")

    async def _once(self, pmids: list[int]) -> bytes:
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._eutils.interval
        given = {"api_key": self._eutils.api_key, "email": self._eutils.email}
        form: dict[str, Any] = {"db": "pubmed", "retmode": "xml", "tool": TOOL, "id": ",".join(map(str, pmids))}
        form |= {name: value for name, value in given.items() if value}
        url = self._eutils.url.rstrip("/") + "/efetch.fcgi"
        async with self._session.post(url, data=form, allow_redirects=False) as response:
            body = await response.content.read(_LARGEST + 1)
            while not response.content.at_eof() and len(body) <= _LARGEST:
                body += await response.content.read(_LARGEST)
            if response.status == 400 and _NO_IDS in body:
                return b"<PubmedArticleSet></PubmedArticleSet>"
            answer = f"the server answers {response.status} {response.reason}"
            if response.status in TRANSIENT:
                raise _FetchError(answer, wait=retry_after(response.headers.get("Retry-After", "")))
            if response.status != 200:
                raise _FetchError(answer)
        if len(body) > _LARGEST:
            raise _FetchError(f"the server answers with more than {_LARGEST:,} bytes")
        return body


def _checked(answer: bytes, folder: Path) -> bytes:
    """Return an answer if it is complete. Raises _FetchError: an overloaded server returns a message or part of it."""
    path = folder / ".answer.xml"
    _write(path, answer)
    try:
        for _ in parse(path):
            pass
    except SourceError as error:
        raise _FetchError(error.in_file, wait=0.0) from error
    return answer


def _keep(pmids: list[int], answer: bytes, folder: Path) -> None:
    """Write a batch: first the list of requested PMIDs, then the answer with the PMIDs that it lacks."""
    path = folder / ".answer.xml"
    got = {record.document_id for record in parse(path) if isinstance(record, Document | Failure)}
    absent = "".join(f"<PMID>{pmid}</PMID>" for pmid in pmids if str(pmid) not in got)
    rest = f"\n<PubmedArticleSet><NotFound>{absent}</NotFound></PubmedArticleSet>\n" if absent else ""
    name = f"pubmed-{hashlib.sha256(','.join(map(str, pmids)).encode()).hexdigest()[:16]}.xml"
    _write(folder / f".{name}.json", json.dumps(pmids).encode())
    _write(folder / name, answer + rest.encode())
    path.unlink()


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)

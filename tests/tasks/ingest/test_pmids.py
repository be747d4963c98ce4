"""PMIDs are fetched in batches from a server like NCBI's, within its limits, and none is requested twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2emern.model.document import Document
from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest import pmids
from e2emern.tasks.ingest.outcome import RetryPolicy
from e2emern.tasks.ingest.pmids import Eutils, fetch_pmids, read_pmids
from e2emern.tasks.parsers import Failure, parse
from tests.tasks.ingest.eutils import Ncbi, records, serving

QUICK = RetryPolicy(tries=3, first=0.01, longest=0.5, read_timeout=5.0)


@pytest.fixture
def ncbi() -> Iterator[Ncbi]:
    with serving() as site:
        yield site


def fetch(ncbi: Ncbi, folder: Path, ids: list[int], **options: str) -> tuple[list[Path], dict[str, str]]:
    return fetch_pmids(ids, folder, eutils=Eutils(url=ncbi.url, retry_policy=QUICK, **options))  # type: ignore[arg-type]


def test_batches_are_posted_as_ncbi_asks_and_kept(ncbi: Ncbi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmids, "BATCH", 2)
    files, problems = fetch(ncbi, tmp_path, [1, 2, 3], api_key="secret", email="a@b.org")
    shared = {"db": "pubmed", "retmode": "xml", "tool": "e2emern", "api_key": "secret", "email": "a@b.org"}
    shared["path"] = "/entrez/eutils/efetch.fcgi"
    assert ncbi.asked == [shared | {"id": "1,2"}, shared | {"id": "3"}]
    assert ncbi.times[1] - ncbi.times[0] > 0.09
    assert problems == {}
    assert [[record.document_id for record in parse(file)] for file in files] == [["1", "2"], ["3"]]  # type: ignore[union-attr]
    assert fetch(ncbi, tmp_path, [3, 1]) == (files[::-1], {})
    assert len(ncbi.asked) == 2
    (more,) = fetch(ncbi, tmp_path, [2, 4])[0][1:]
    assert ncbi.asked[2] == {name: shared[name] for name in ("db", "retmode", "tool", "path")} | {"id": "4"}
    more.unlink()
    assert fetch(ncbi, tmp_path, [4]) == ([more], {})


def test_missing_pmids_are_failures(ncbi: Ncbi, tmp_path: Path) -> None:
    ((file,), _) = fetch(ncbi, tmp_path, [901, 1, 902])
    found = list(parse(file))
    assert [one.document_id for one in found if isinstance(one, Document)] == ["1"]
    assert [(one.record, one.document_id, one.reason) for one in found if isinstance(one, Failure)] == [
        (1, "901", "PubMed has no record of this PMID; is it mistyped, or was it deleted?"),
        (2, "902", "PubMed has no record of this PMID; is it mistyped, or was it deleted?"),
    ]
    ncbi.answers = [(400, b"<eFetchResult><ERROR>ID list is empty! Possibly it has no correct IDs.</ERROR>", {})]
    ((file,), _) = fetch(ncbi, tmp_path, [903])
    assert [type(one) for one in parse(file)] == [Failure]


def test_transient_errors_are_retried(ncbi: Ncbi, tmp_path: Path) -> None:
    ncbi.answers = [(429, b'{"error":"API rate limit exceeded"}', {"Retry-After": "0"}), (502, b"", {})]
    files, problems = fetch(ncbi, tmp_path, [1])
    assert (len(files), problems, len(ncbi.asked)) == (1, {}, 3)
    ncbi.answers = [(200, records(["2"])[:-20], {}), (200, b"", {})]  # cut, empty
    assert len(fetch(ncbi, tmp_path, [2])[0]) == 1
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == sorted(
        path.name.removeprefix(".").removesuffix(".json") for path in tmp_path.glob(".pubmed*.json")
    )


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([(403, b"", {})], "the server answers 403 Forbidden"),
        ([(302, b"", {"Location": "http://127.0.0.1:1/"})], "the server answers 302 Found"),
        ([(429, b"", {})] * 3, "the server answers 429 Too Many Requests (tried 3 times)"),
        ([(503, b"", {"Retry-After": "60"})], "the server answers 503 Service Unavailable and asks to wait 60 s; try "),
        (
            [(200, b"<html>down</html>", {})] * 3,
            "an HTML page, not the file itself; check the address and download it ",
        ),
    ],
)
def test_a_failed_batch_does_not_stop_others(
    ncbi: Ncbi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[int, bytes, dict[str, str]]],
    reason: str,
) -> None:
    monkeypatch.setattr(pmids, "BATCH", 1)
    ncbi.answers = answers
    files, problems = fetch(ncbi, tmp_path, [1, 2])
    assert len(files) == 1
    ((what, why),) = problems.items()
    assert what == "1 PMIDs from 1 to 1"
    assert why.startswith(reason)
    assert fetch(ncbi, tmp_path, [1, 2])[1] == {}


def test_invalid_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="password"):
        fetch_pmids([1], tmp_path, eutils=Eutils(url="http://user:word@127.0.0.1/"))
    _, problems = fetch_pmids([1], tmp_path, eutils=Eutils(url="http://127.0.0.1:1/", retry_policy=QUICK))
    assert re.match(r"Cannot connect to host 127.0.0.1:1 .* \(tried 3 times\)$", problems["1 PMIDs from 1 to 1"])
    assert "secret" not in repr(Eutils(api_key="secret"))


def test_lists_of_pmids(tmp_path: Path) -> None:
    assert read_pmids("12, 007;12 3") == ([12, 7, 3], {})
    file = tmp_path / "ids.txt"
    file.write_text("\ufeffPMID\n12\n\n13,14\nPMC15 0\n")
    problems = {"ids.txt, line 5, 'PMC15'": "not a PMID", "ids.txt, line 5, '0'": "not a PMID"}
    assert read_pmids(str(file)) == ([12, 13, 14], problems)
    file.write_text("pubmed id\n")
    for given, message in (
        (str(file), f"{file}: holds no PMID"),
        ("none.txt", "none.txt: neither a list of PMIDs nor a file of them (No such file or directory)"),
        ("0", "0: holds no PMID"),
    ):
        with pytest.raises(InputError) as raised:
            read_pmids(given)
        assert str(raised.value) == message

"""A home with hostile texts, and a client of the explorer over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.app import make_app
from e2emern.flows.explorer.security import Secrets
from e2emern.model.evaluation.metrics import EVALUATIONS
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import Check, Judged, write_judged
from e2emern.warehouse.registry.models import add_model, promote
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention

ONE, TWO = key("pubmed26n0001.xml", "1"), key("pubmed26n0002.xml", "2")
RUN = "20260101T000000.000000Z-00000000"
HOSTILE = "<script>alert(1)</script> \u202egnp.exe \x1b[31mred"
TITLE = "Breast cancer after aspirin"
ABSTRACT = "Familial breast cancer was rare."
SECRETS = Secrets()
ADDRESS = "http://127.0.0.1:8642"


def paper(record: int, document_id: str, title: str, abstract: str = "", *, published: str = "2021") -> dict[str, Any]:
    """A document with a title and an abstract."""
    passages = [{"section": "title", "offset": 0, "text": title}]
    if abstract:
        passages.append({"section": "abstract", "offset": len(title) + 1, "text": abstract})
    return document(record, document_id, text=title) | {
        "abstract": abstract,
        "passages": passages,
        "published": published,
        "journal": "Journal of <b>Tests</b>",
    }


def named(
    record: int, document_id: str, text: str, words: str, mesh_id: str | None, name: str | None
) -> dict[str, Any]:
    """A mention of some words of a text."""
    start = text.index(words)
    kind = "Chemical" if mesh_id == "D001241" else "Disease"
    scores = {"ner_score": 0.9, "mid_score": 0.8, "high_score": 0.7, "link_score": 0.75, "how": "name"}
    place = {"start": start, "end": start + len(words), "text": words, "entity_type": kind, "mesh_name": name}
    return mention(record, document_id, mesh_id) | place | (scores if mesh_id else {})


def fill(home: Home, *, models: Path | None = None) -> None:
    """Publish a source of three documents, one of them hostile, with models and an evaluation."""
    add_vocabulary(home)
    text = f"{TITLE} {ABSTRACT}"
    documents = [
        paper(0, "11", TITLE, ABSTRACT, published="2020-05"),
        paper(1, "12", f"{HOSTILE} tumour", published="2022"),
        paper(2, "a/../b", "Aspirin alone"),
    ]
    mentions = [
        named(0, "11", text, "Breast cancer", "D001943", "Breast Neoplasms"),
        named(0, "11", text, "aspirin", "D001241", "Aspirin"),
        named(0, "11", text, "Familial breast cancer", "C562840", "Breast Cancer, Familial"),
        named(0, "11", text, "breast cancer", "D001943", "Breast Neoplasms"),
        named(1, "12", f"{HOSTILE} tumour", HOSTILE, "D001943", HOSTILE),
        named(1, "12", f"{HOSTILE} tumour", "tumour", None, None),
        named(2, "a/../b", "Aspirin alone", "Aspirin", "D001241", "Aspirin"),
    ]
    add_source(home, ONE, documents, mentions=mentions, failures=[(3, "PMID 'x' is not a number")])
    add_run(home, ONE, run_id=RUN)
    if models is not None:
        judge(home, models)
    publish(home, VERSIONS)


def judge(home: Home, folder: Path) -> None:
    """Add two models, one with a learning curve, and an evaluation of the second that fails one check."""
    for version in ("aaa", "bbb"):
        made = folder / version
        made.mkdir()
        (made / "config.json").write_text(f'{{"name": "{version}"}}')
        if version == "bbb":
            (made / "dev.jsonl").write_text('{"epoch": 0, "f1": 0.5}\n{"epoch": 1, "f1": 0.75}\n')
        add_model(home, made, version=version)
    promote(home, "aaa", over=None, why="the first")
    common = {"mesh_version": "2024", "corpus": "ncbi", "split": "dev", "entity_type": "Disease", "documents": 10}
    figures: list[dict[str, Any]] = [
        common | {"protocol": protocol, "slice": name, "figure": "f1", "value": value, "model_version": version}
        | {"tp": 80, "fp": 10, "fn": 10, "floor": None, "ceiling": None}
        for protocol, name, version, value in (
            ("mention", "all", "aaa", 0.9), ("mention", "all", "bbb", 0.8889), ("mention", "unseen", "bbb", 0.7),
            ("document", "all", "bbb", 0.6),
        )
    ]  # fmt: skip
    checks = (
        Check(name="document F1", champion=0.7, challenger=0.65, low=-0.08, high=-0.02, least=-0.01, passed=False,
              reason="70.0 -> 65.0"),
        Check(name="throughput", champion=10.0, challenger=9.0, least=8.0, passed=True),
    )  # fmt: skip
    judged = Judged(
        evaluation="e1", evaluated="2026-01-02T03:04:05+00:00", challenger="bbb", champion="aaa", mesh_version="2024",
        checks=checks,
    )  # fmt: skip
    write_judged(home, judged, figures=pa.Table.from_pylist(figures, schema=EVALUATIONS), report="# Evaluation\n")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("explorer"))
    fill(made, models=tmp_path_factory.mktemp("models"))
    return made


@pytest.fixture
def stranger(home: Home) -> Iterator[TestClient]:
    """A client without the cookie."""
    with TestClient(
        make_app(home, secrets=SECRETS, port=8642, annotator=Annotator(home)), base_url=ADDRESS, follow_redirects=False
    ) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    assert stranger.get("/", params={"token": SECRETS.token}).status_code == 200
    return stranger


@pytest.fixture
def corrections(home: Home, tmp_path: Path) -> Iterator[tuple[TestClient, Path]]:
    """A client that may write corrections, and their folder."""
    folder = tmp_path / "corrections"
    app = make_app(home, secrets=SECRETS, port=8642, corrections=folder, annotator=Annotator(home))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as one:
        one.get("/", params={"token": SECRETS.token})
        yield one, folder

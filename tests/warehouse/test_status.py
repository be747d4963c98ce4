"""What a home says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.homes import MESH, MODEL, add_run, add_source, add_vocabulary, document, key, mention
from warehouse.errors import WarehouseError
from warehouse.layout import Home
from warehouse.snapshot import publish
from warehouse.status import Status, status


def test_home_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"absent is not there; annotate something into it first$"):
        status(Home(tmp_path / "absent"))


def test_home_without_snapshot(tmp_path: Path) -> None:
    home = Home(tmp_path)
    empty = Status(last_run=None, snapshot=None, failures_by_reason={}, damaged={})
    assert status(home) == empty
    assert empty.linked_share == 0.0
    add_run(home, key("a"))
    last = add_run(home, key("b"))
    found = status(home).last_run
    assert found is not None
    assert found.run_id == last


def test_home_with_snapshot(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(
        home,
        key("a"),
        [document(0, "1")],
        failures=[(1, "no PMID"), (2, "too long"), (3, "no PMID")],
        mentions=[mention(0, "1"), mention(0, "1", "D001241"), mention(0, "1", None), mention(0, "1", start=2)],
    )
    add_source(home, key("b"), error="truncated at byte 7")
    snapshot = publish(home, model_version=MODEL, mesh_version=MESH)
    found = status(home)
    assert found.snapshot == snapshot
    assert found.linked_share == 0.75
    assert found.failures_by_reason == {"no PMID": 2, "too long": 1}
    assert list(found.failures_by_reason) == ["no PMID", "too long"]
    assert found.damaged == {"b": "truncated at byte 7"}
    assert (snapshot.sources, snapshot.damaged, snapshot.documents, snapshot.concepts) == (2, 1, 1, 2)

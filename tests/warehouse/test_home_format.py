"""Every command that opens a home checks its format, and refuses another one before it reads or writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.home_format import FORMAT, FormatError, check_format, make_home, open_home
from e2emern.warehouse.layout import Home, SourceKey
from tests.warehouse.homes import add_run, add_source, add_vocabulary, document, publish_it

SOURCE = SourceKey("a.xml", "1" * 16 + "-1")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    add_vocabulary(home)
    add_source(home, SOURCE, [document(0, "1")])
    add_run(home, SOURCE)
    publish_it(home)
    return home


def test_a_home_is_created_once_and_its_format_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "new" / "home")
    check_format(home)  # it has no format yet
    make_home(home)
    assert [path.name for path in home.root.iterdir()] == ["format.json"]
    written = home.format.read_bytes()
    fields = json.loads(written)
    assert (fields["format"], fields["home"], FORMAT) == (3, "e2emern/3", 3)
    assert fields["made_by"].startswith("e2emern ")
    make_home(home)
    assert home.format.read_bytes() == written


def test_dumps_and_caches_may_come_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for folder in (home.dumps, home.banks):
        folder.mkdir()
    home.digests.write_bytes(b"{}")
    make_home(home)
    assert home.format.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"home": "e2emern/4", "format": 4}', "has format 4, of newer releases; this one reads 3: update e2emern"),
        ('{"home": "e2emern/0", "format": 0}', "has format 0, of older releases; this one reads 3: annotate its dump"),
        ('{"home": "e2emern/3", "format": 4}', "is damaged; restore it from a backup (e2emern doctor: damaged-format)"),
        ('{"home": "e2emern/3"}', "(e2emern doctor: damaged-format)"),
        ("[1]", "(e2emern doctor: damaged-format)"),
        ('{"home', "(e2emern doctor: damaged-format)"),
        (None, "has no format.json: an older release made this home, or the file was lost"),
    ],
)
def test_another_format_is_refused_in_one_line(home: Home, content: str | None, said: str) -> None:
    home.format.unlink() if content is None else home.format.write_text(content)
    for refused in (check_format, make_home, lambda home: open_home(home.root)):
        with pytest.raises(FormatError) as caught:
            refused(home)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_every_bit_of_the_format_matters_or_changes_nothing(home: Home) -> None:
    written = home.format.read_bytes()
    codes: list[str | None] = []
    for at in range(len(written)):
        for bit in range(8):
            home.format.write_bytes(written[:at] + bytes([written[at] ^ 1 << bit]) + written[at + 1 :])
            codes.append(_code(home))
    assert codes.count("damaged-format") > 200
    assert {*codes} == {None, "damaged-format"}  # the others change the text of `made_by`, or white space


def _code(home: Home) -> str | None:
    try:
        check_format(home)
    except FormatError as error:
        return error.code or "another"
    return None


@pytest.mark.parametrize("damage", [None, b"", b'{"home": "e2emern/3", "format": 4}'])
def test_the_doctor_writes_the_format_of_a_home_of_this_release(home: Home, damage: bytes | None) -> None:
    sound = home.format.read_bytes()
    home.format.unlink() if damage is None else home.format.write_bytes(damage)
    code = "no-format" if damage is None else "damaged-format"
    assert [one.code for one in examine(home)] == [code]
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [(code, "written again")]
    assert home.format.read_bytes() == sound
    assert [one for one in examine(home) if one.code != "quarantined"] == []


def test_the_doctor_does_not_guess_the_format_of_an_older_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    source = SourceKey("a.xml", "1" * 16)  # older releases did not name the parser
    add_source(home, source, [document(0, "1")])
    add_run(home, source)
    publish_it(home)
    home.format.unlink()
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [("no-format", None)]
    assert not home.format.exists()


def test_the_doctor_does_not_touch_a_home_of_another_format(home: Home) -> None:
    home.format.write_text('{"home": "e2emern/4", "format": 4}')
    (home.root / "documents" / "odd").write_bytes(b"")
    before = sorted(home.root.rglob("*"))
    with pytest.raises(FormatError, match="has format 4"):
        examine(home, repair=True)
    assert sorted(home.root.rglob("*")) == before

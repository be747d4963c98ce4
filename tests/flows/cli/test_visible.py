"""No foreign text controls the terminal, whatever command prints it."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import main
from e2emern.flows.cli.render import print_answer
from e2emern.flows.cli.terminal import VisibleConsole, show_line
from e2emern.flows.cli.visible import VisibleStream
from e2emern.flows.visible import visible, visible_json
from e2emern.tasks.models import load_whole
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import add_model
from tests.flows.world import World, pubmed

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eevil\r"
OURS = re.compile(r"\x1b\[[0-9;]*m")  # the colours of rich


class Terminal(io.TextIOWrapper):
    """A stream that claims to be a terminal."""

    def __init__(self, *, is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def controls(text: str) -> list[str]:
    """Return the control characters of a text."""
    return [
        each
        for each in text
        if (unicodedata.category(each) == "Cc" and each not in "\n\t")
        or unicodedata.bidirectional(each) in BIDIRECTIONAL
    ]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object, is_terminal: bool = True) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it printed on both streams."""
    out, err = Terminal(is_terminal=is_terminal), Terminal(is_terminal=is_terminal)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["e2emern", *map(str, arguments)])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        assert (sys.stdout, sys.stderr) == (out, err)
    return int(code or 0), out.text(), err.text()


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert controls(shown) == []
    assert visible(shown) == shown
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text
    assert controls(visible_json(json.dumps(text, ensure_ascii=False))) == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_streams_and_consoles_print_none(text: str) -> None:
    out = Terminal()
    stream = VisibleStream(out)
    print(text, file=stream)
    stream.writelines(iter([text]))
    for byte in text.encode():
        stream.buffer.write(bytes([byte]))
    console = VisibleConsole(file=out, color_system=None)
    console.print(text, markup=False)
    show_line(text, console=console)
    rows = pa.table({text: [text], "list": [[text]]})
    for form in ("table", "csv", "json"):
        print_answer(rows, form=form, console=console)
    assert controls(out.text()) == []


def test_a_program_gets_the_exact_data() -> None:
    out = Terminal(is_terminal=False)
    rows = pa.table({"title": ["\x1b[2J\u202e"]})
    print_answer(rows, form="csv", console=VisibleConsole(file=out))
    print_answer(rows, form="json", console=VisibleConsole(file=out))
    VisibleStream(out).buffer.write(b"\x1b[2J")
    assert out.text() == 'title\n\x1b[2J\u202e\n[{"title": "\\u001b[2J\\u202e"}]\n\x1b[2J'


def test_characters_that_the_encoding_lacks_are_question_marks() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    print("𝛽-é\x9b", file=VisibleStream(out), flush=True)
    assert isinstance(out.buffer, io.BytesIO)
    assert out.buffer.getvalue() == "?-é?\n".encode("latin-1")


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with hostile titles, names of files and a hostile model card, in two snapshots."""
    folder = tmp_path_factory.mktemp("visible")
    inputs = folder / "in"
    inputs.mkdir()
    (inputs / f"notes{HOSTILE}.pubtator").write_text(
        f"201|t|The patients had breast cancer {HOSTILE}.\n201|a|Aspirin {HOSTILE} caused headache.\n"
        f"201\t0\t3\t{HOSTILE}\tDisease\tD001\n\n202|t|No patients {HOSTILE} with rash.\n202|a|\n".replace("\r", "")
    )
    annotate_sources([inputs], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    title = "Aspirin \x9b2J\u202e caused headache."
    (inputs / "pubmed30n0001.xml").write_text(pubmed([(201, title, title), (203, title, title)], bad=1))
    annotate_sources([inputs / "pubmed30n0001.xml"], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    model = folder / f"model{HOSTILE}"
    shutil.copytree(world.model, model)
    (model / "README.md").write_text(f"# A model {HOSTILE}\n")
    *_, version = load_whole(model, device="cpu")
    add_model(Home(folder / "home"), model, version=version)
    (folder / "version").write_text(version)
    return folder / "home"


def commands(home: Path, world: World) -> Iterator[list[object]]:
    """Every kind of command, succeeding and failing."""
    bad, version = home.parent / f"bad{HOSTILE}", (home.parent / "version").read_text()
    annotated = ["--model", world.model, "--mesh", world.mesh, "--device", "cpu"]
    yield ["query", "sources", "--home", home, "--format", "csv"]
    yield ["sql", "SELECT title FROM documents", "--home", home]
    yield ["show", "201", "203", HOSTILE, "--home", home]
    yield ["export", "--home", home, "--format", "csv", "--output", "-"]
    yield ["trace", "201", "--home", home]
    yield ["trace", "201", "--home", home, "--format", "json"]
    yield ["status", "--home", home]
    yield ["export", "--home", home, "--format", "pubtator", "--output", "-"]
    yield ["doctor", "--home", home]
    yield ["models", "show", version, "--home", home]
    yield ["models", "show", HOSTILE, "--home", home]
    yield ["snapshots", "list", "--home", home]
    yield ["snapshots", "diff", "1", "2", "--home", home]
    yield ["snapshots", "rollback", "1", "--home", home, "--why", HOSTILE]
    yield ["snapshots", "list", "--home", home]
    yield ["mesh", "diff", HOSTILE, "tiny", "--home", home]
    yield ["annotate", bad, "--home", home, *annotated]
    yield ["ingest", bad, "--home", home]
    yield ["link", bad, "--output", home.parent / "linked", "--home", home]
    yield ["statistics", bad]
    yield ["train", "--config", bad]
    yield ["--verbose", "average", "--model", bad, "--output", bad]
    yield [HOSTILE]
    yield ["sql", "SELECT 1", f"--{HOSTILE}"]
    yield ["sql", "SELECT 1", "--home", home, "--limit", HOSTILE]
    yield ["demo", "--home", bad]


def test_no_command_lets_foreign_text_control_the_terminal(
    home: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    replaced = 0
    for arguments in commands(home, world):
        code, out, err = run(monkeypatch, *arguments)
        assert code in (0, 1, 2), arguments
        assert controls(OURS.sub("", out)) == [], arguments
        assert "unexpected" not in err, err
        bars = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AKG])|\r", "", OURS.sub("", err))  # progress bars
        assert controls(bars) == [], (arguments, err)
        replaced += "�" in out + err
    assert replaced >= 12  # the others escape or omit it


def test_a_bug_of_ours_shows_no_control_character_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError(HOSTILE)

    monkeypatch.setattr("e2emern.warehouse.queries.status.status", fail)
    code, out, err = run(monkeypatch, "--verbose", "status", "--home", "x")
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert controls(err) == []


@settings(max_examples=15, deadline=None)  # each builds all commands
@given(st.text(min_size=1))
def test_wrong_usage(text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for arguments in ([f"no-{text}"], ["query", f"no-{text}"], ["status", f"--no-{text}"]):
            code, out, err = run(monkeypatch, *arguments)
            assert (code, controls(out + err)) == (2, [])

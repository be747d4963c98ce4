"""Typical inputs, from the command to the tables: texts, tables, archives, standard input, PMIDs."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from e2emern.flows.cli import main
from tests.flows.world import TEXTS, World, rows
from tests.tasks.ingest.eutils import serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; return its exit code, standard output and standard error."""

    def run_here(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys, "argv", ["e2emern", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run_here


def options(world: World, home: Path) -> list[object]:
    return ["--home", home, "--model", world.model, "--mesh", world.mesh, "--device", "cpu"]


def test_from_files_of_every_kind_to_mentions_at_their_offsets(world: World, tmp_path: Path, run: Run) -> None:
    folder, home = tmp_path / "in", tmp_path / "home"
    folder.mkdir()
    note = f"# A note\n\n{TEXTS[0]}\n\n{TEXTS[1]}\n"
    (folder / "a note.md").write_text(note)
    (folder / "t.csv").write_text(f'Code,Report\nr1,"{TEXTS[2]}"\nr2,"{TEXTS[3]}"\n,{TEXTS[0]}\n')
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr("../up.txt", TEXTS[1])
        archive.writestr("p.pdf", b"%PDF-1.7")
    code, out, err = run("annotate", folder, *options(world, home), "--id-column", "code", "--text-column", "report")
    assert (code, err) == (0, "e2emern: t.csv: id from 'Code', text from 'Report'\n")
    assert "4 documents" in out
    assert rows(home, "SELECT source, format, documents, failed FROM sources ORDER BY ALL") == [
        ("a note.md", "text", 1, 0),
        ("t.csv", "csv", 2, 1),
        ("z.zip", "zip", 1, 1),
    ]
    assert rows(home, "SELECT source, position FROM failures ORDER BY ALL") == [("t.csv", "line 4"), ("z.zip", "p.pdf")]
    texts = {"a%20note.md": note, "r1": TEXTS[2], "r2": TEXTS[3], "z.zip/../up.txt": TEXTS[1]}
    assert {name for (name,) in rows(home, "SELECT document_id FROM documents")} == {*texts}
    mentions = rows(home, 'SELECT document_id, start, "end", text FROM mentions')
    assert len(mentions) >= 5
    assert all(texts[str(name)][start:end] == text for name, start, end, text in mentions)  # type: ignore[misc]

    again = run("annotate", folder, *options(world, home), "--id-column", "code", "--text-column", "report")
    assert "Nothing new: 3 sources were annotated before" in again[1]
    other = run("annotate", folder / "t.csv", *options(world, home), "--text-column", "code")
    assert (other[0], other[2]) == (0, "e2emern: t.csv: ids from the row numbers, text from 'Code'\n")
    assert rows(home, "SELECT document_id FROM documents WHERE source = 't.csv' ORDER BY ALL") == [
        ("t.csv:1",),
        ("t.csv:2",),
        ("t.csv:3",),
    ]


def test_a_source_is_withdrawn_and_comes_back(world: World, tmp_path: Path, run: Run) -> None:
    folder, home = tmp_path / "in", tmp_path / "home"
    folder.mkdir()
    for name, text in (("a.csv", TEXTS[0]), ("b.csv", TEXTS[1])):
        (folder / name).write_text(f"id,text\n1,{text}\n")
    run("annotate", folder, *options(world, home))
    assert rows(home, "SELECT source FROM documents") == [("b.csv",)]
    code, out, err = run("sources", "remove", "b.csv", "--home", home, "--why", "a test")
    assert (code, out) == (0, "snapshot 2 no longer has b.csv: 1 document, 1 mention\n")
    assert err.startswith("e2emern: e2emern snapshots prune deletes its files; to bring it back: e2emern annotate FILE")
    assert rows(home, "SELECT source FROM documents") == [("a.csv",)]
    _, listed, _ = run("sources", "list", "--home", home)
    assert "| a.csv" in listed
    assert "| b.csv" not in listed
    assert listed.splitlines()[-1].startswith("b.csv was withdrawn 20")
    assert listed.endswith(": a test\n")

    left = run("annotate", folder, *options(world, home))
    assert "Withdrawn, so left out: b.csv; to bring a file back, name it explicitly" in left[1]
    assert rows(home, "SELECT source FROM documents") == [("a.csv",)]
    assert run("annotate", folder / "b.csv", *options(world, home))[0] == 0
    assert rows(home, "SELECT source FROM documents") == [("b.csv",)]


def test_standard_input_is_kept_as_a_source(world: World, tmp_path: Path, run: Run) -> None:
    home = tmp_path / "home"
    piped = (TEXTS[0], "1|t|Gout\n1|a|Urate\n", f"id,text\n7,{TEXTS[1]}\n")
    for content in piped:
        assert run("annotate", "-", *options(world, home), stdin=content.encode())[0] == 0
    assert "Nothing new" in run("annotate", "-", *options(world, home), stdin=piped[0].encode())[1]
    names = [f"stdin-{sha256(content.encode()).hexdigest()[:16]}" for content in piped]
    expected = [("csv", names[2], "7"), ("pubtator", names[1], "1"), ("text", f"{names[0]}.txt", f"{names[0]}.txt")]
    found = rows(home, "SELECT format, source, document_id FROM documents JOIN sources USING (source) ORDER BY ALL")
    assert found == expected
    assert sorted(path.name for path in (home / "inputs").iterdir()) == sorted(name for _, name, _ in expected)
    assert run("annotate", "-", *options(world, home)) == (1, "", "e2emern: nothing on standard input\n")


def test_pmids_are_fetched_and_those_that_are_missing_fail(
    world: World, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ids = tmp_path / "home", tmp_path / "ids.txt"
    ids.write_text("PMID\n1\n2\nx7\n901\n")
    with serving() as ncbi:
        monkeypatch.setenv("E2EMERN_NCBI_URL", ncbi.url)
        monkeypatch.setenv("E2EMERN_NCBI_API_KEY", "secret")
        code, out, err = run("annotate", "--pmids", ids, *options(world, home))
        assert run("annotate", "--pmids", "2,1", *options(world, home))[0] == 0
    assert code == 1
    assert "secret" not in out + err
    assert [(form["api_key"], form["id"]) for form in ncbi.asked] == [("secret", "1,2,901")]
    assert rows(home, "SELECT document_id, title FROM documents ORDER BY ALL") == [("1", "Gout 1."), ("2", "Gout 2.")]
    assert rows(home, "SELECT document_id FROM failures") == [("901",)]


def test_a_text_is_annotated_without_a_home(
    world: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--model", world.model, "--mesh", world.mesh, "--device", "cpu"]
    code, out, _ = run("text", "Aspirin caused renal", "failure and headache.", *given)
    first, empty, *table = out.splitlines()
    assert (code, empty, len(table)) == (0, "", 7)
    assert first == "[Aspirin|D006] caused [renal failure|D004] and [headache|D005]."
    piped = run("text", "-", *given, stdin=b"Aspirin caused\nrenal failure and headache.")
    assert piped[1].splitlines()[0] == first
    answer = json.loads(run("text", "--json", TEXTS[2], *given)[1])
    found = [(answer["text"][one["start"] : one["end"]], one["text"], one["mesh_id"]) for one in answer["mentions"]]
    expected = (("Aspirin", "D006"), ("renal failure", "D004"), ("headache", "D005"))
    assert found == [(words, words, concept) for words, concept in expected]
    assert run("text", " ", *given)[0] == 2
    assert run("text", "-", *given, stdin=b"\xff")[2] == "e2emern: standard input: byte 0xFF is not UTF-8\n"
    assert [*tmp_path.iterdir()] == []

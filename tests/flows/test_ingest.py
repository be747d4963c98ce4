"""`e2emern ingest` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.flows.command import run


def test_the_command(tmp_path: Path) -> None:
    source, home = tmp_path / "in", tmp_path / "home"
    source.mkdir()
    (source / "a.txt").write_text("one")
    arguments = ["ingest", source, "--home", home, "--pattern", "*.txt"]
    first = run(*arguments)
    assert (first.returncode, first.stderr) == (0, "e2emern: a.txt: fetched, 0.0 MB\n")
    assert first.stdout == f"{home}/dumps: 1 fetched (0.0 MB), 0 unchanged, 0 failed\n"
    assert (home / "dumps" / "a.txt").read_text() == "one"
    again = run(*arguments, tmp_path / "none")
    assert (again.returncode, again.stderr) == (
        1,
        f"e2emern: {tmp_path}/none: cannot be listed (No such file or directory)\n",
    )
    assert again.stdout == f"{home}/dumps: 0 fetched (0.0 MB), 1 unchanged, 1 failed\n"
    (source / "pubmed30n0001.xml").touch()
    (source / "pubmed30n0003.xml").touch()
    check = ["ingest", source, "--home", home, "--check", "--pattern"]
    assert run(*check, "*.txt").returncode == 0
    run("ingest", source, "--home", home, "--pattern", "*3.xml")
    (home / "dumps" / "pubmed30n0001.xml").touch()
    checked = run(*check, "*.xml")
    assert (checked.returncode, checked.stderr.splitlines()) == (
        1,
        [
            "e2emern: pubmed30n0001.xml: changed since it was copied",
            "e2emern: pubmed30n0002: missing between the existing files; fetch with e2emern ingest, then annotate",
        ],
    )
    assert checked.stdout == f"{home}/dumps: 1 complete, 1 missing or different, 1 gap\n"
    (tmp_path / "file").touch()
    nowhere = run(*arguments, "--dumps", tmp_path / "file")
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        f"e2emern: {tmp_path}/file: cannot be used as a folder of dumps (File exists)\n",
    )

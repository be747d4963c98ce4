"""The documents say what the code does: docs/tables.md, the commands of README.md, the figures of the model card.

`python -m tests.test_docs` writes docs/tables.md, the questions of docs/queries.md and the figures anew.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from defaults import MODEL
from warehouse import schemas
from warehouse.catalog import TABLES, VIEWS
from warehouse.constraints import CONSTRAINTS
from warehouse.queries import library

ROOT = Path(__file__).resolve().parent.parent
TABLES_PAGE = ROOT / "docs" / "tables.md"
QUERIES_PAGE = ROOT / "docs" / "queries.md"
FIGURE_PAGES = (ROOT / "README.md", MODEL / "README.md")
QUERIES = re.compile(r"(?<=<!-- queries -->\n\n).*?(?=\n\n<!-- /queries -->)", re.DOTALL)
FIGURES = re.compile(r"(?<=<!-- figures -->\n\n).*?(?=\n\n<!-- /figures -->)", re.DOTALL)
HELD_OUT = re.compile(r"(?<=<!-- held out -->\n\n).*?(?=\n\n<!-- /held out -->)", re.DOTALL)
SHIPPED = MODEL / "metrics.json"
STUDENTS = sorted(MODEL.glob("metrics.students.*.json"))  # of train alone, a file a seed
TEACHER = MODEL / "metrics.teacher.json"  # of train alone


def tables_page() -> str:
    """docs/tables.md, from the schemas."""
    described = dict(VIEWS)
    described["annotations"] = (schemas.ANNOTATIONS, "Mentions that the sources themselves carry")
    described |= TABLES
    lines = [
        "# Tables",
        "",
        "What `home/warehouse.duckdb` holds. Offsets count code points, ends are exclusive; `end` is a keyword of SQL",
        'and wants quotes: `SELECT start, "end" FROM mentions`.',
    ]
    for name, (schema, text) in described.items():
        lines += ["", f"## {name}", "", f"{text}.", "", "| column | type | what it holds |", "|---|---|---|"]
        for column in schema:
            kind = re.sub(r"<element: |<item: ", "<", str(column.type)).replace("|", "\\|")
            lines.append(f"| `{column.name}` | {kind} | {column.metadata[b'description'].decode()} |")
        required = [f"`{column.name}`" for column in schema if not column.nullable]
        rules = [f"`{rule}`" for rule in CONSTRAINTS[name][1]] if name in CONSTRAINTS else []
        lines += ["", f"Never null: {', '.join(required)}."]
        lines += [f"Checked before a row is published: {', '.join(rules)}."] if rules else []
    return "\n".join(lines) + "\n"


def queries_section() -> str:
    """What docs/queries.md says of each named query, from the headers of the queries."""
    lines = []
    for one in library().values():
        lines += [f"### {one.name}", "", f"{one.description} {one.notes}".strip(), ""]
        if one.parameters:
            lines += ["| option | default | |", "|---|---|---|"]
            for each in one.parameters:
                default = "must be given" if each.required else "" if each.default == "null" else each.default
                lines.append(f"| `--{each.name} {each.kind.upper()}` | {default} | {each.description} |")
            lines.append("")
        lines += ["```sh", one.example, "```", ""]
    return "\n".join(lines).rstrip()


Figures = dict[tuple[str, str, str, str], list[float]]
"""By corpus, type, protocol and figure: a value a model."""


def figures_of(*paths: Path) -> Figures:
    found: Figures = {}
    for path in paths:
        for row in json.loads(path.read_text())["rows"]:
            for name in ("f1", "accuracy@1", "recall@8", "exact_match", "floor", "ceiling"):
                if row.get(name) is not None:
                    found.setdefault((row["corpus"], row["entity_type"], row["protocol"], name), []).append(row[name])
    return found


def shown(values: list[float]) -> str:
    """The mean in per cent, and the least and greatest in brackets where they differ."""
    mean, least, greatest = (f"{100 * value:.1f}" for value in (sum(values) / len(values), min(values), max(values)))
    return mean if least == greatest else f"{mean} ({least} to {greatest})"


MEASURED = (("ner", "f1"), ("mention", "f1"), ("document", "f1"), ("link", "accuracy@1"))
BOUNDS = (("link", "recall@8"), ("link", "exact_match"), ("link", "floor"), ("link", "ceiling"))


def figures_table() -> str:
    """The table of dev scores, of the models that were trained on the train splits alone."""
    found = figures_of(*STUDENTS)
    lines = [
        "| corpus, dev | type | `ner` F1 | `mention` F1 | `document` F1 "
        "| `link` acc@1 | recall@8 | exact match | floor | ceiling |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for corpus, kind in dict.fromkeys(key[:2] for key in found if key[0].endswith("/dev")):
        cells = [shown(found[corpus, kind, *figure]) for figure in (*MEASURED, *BOUNDS)]
        lines.append(f"| {corpus.removesuffix('/dev')} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def held_out_table() -> str:
    """The table of a corpus that none of the models has seen."""
    columns = ["type", "trained on", "`ner` F1", "`mention` F1", "`document` F1", "`link` acc@1"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for kind in ("Chemical", "Disease"):
        for trained_on, path in (("train", TEACHER), ("train + dev", SHIPPED)):
            found = figures_of(path)
            cells = [shown(found["biored/held-out", kind, *figure]) for figure in MEASURED]
            lines.append(f"| {kind} | {trained_on} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_page_of_tables_is_that_of_the_schemas() -> None:
    assert TABLES_PAGE.read_text(encoding="utf-8") == tables_page()


def test_the_page_of_queries_tells_of_each_as_its_header_does() -> None:
    found = QUERIES.search(QUERIES_PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group() == queries_section()


@pytest.mark.parametrize("page", FIGURE_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_are_those_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block, table in ((FIGURES, figures_table()), (HELD_OUT, held_out_table())):
        found = block.search(text)
        assert found is not None
        assert found.group() == table


def test_metrics_are_of_the_shipped_model() -> None:
    from model.version import model_version

    metrics = json.loads(SHIPPED.read_text())
    assert metrics["model_version"] == model_version(MODEL)


def test_benchmarks_in_the_readme_are_those_measured() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    found = dict(
        re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+)(?: GB)? \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    measured = {
        name: one for name, one in results.items() if isinstance(one, dict) and {"ratio", "gigabytes"} & set(one)
    }
    assert found == {name: f"{one.get('ratio', one.get('gigabytes')):.2f}" for name, one in measured.items()}


def test_the_guide_to_operations_reckons_with_what_was_measured() -> None:
    speed = json.loads((ROOT / "benchmarks" / "results.json").read_text())["annotate_over_encoder"][
        "abstracts_per_second"
    ]
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"{speed:.1f} abstracts a second" in told
    assert f"| 1 | {40e6 / speed / 86_400:.0f} |" in told
    assert f"on one of them {50_000 / speed / 60:.0f} minutes" in told


def commands() -> list[list[str]]:
    """Every `e2emern ...` command line in the README, the card and the docs, as words."""
    pages = [*FIGURE_PAGES, *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    joined = "\n".join(blocks).replace("\\\n", " ")
    lines = re.findall(r"^e2emern (?:[^\n\"']|\"[^\"]*\"|'[^']*')*", joined, re.MULTILINE)  # a quote may span lines
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_documented_commands_exist_with_their_options(words: list[str]) -> None:
    from flows.cli import app

    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None):
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known


def test_every_command_is_documented_and_teaches_with_an_example() -> None:
    from flows.cli import app

    def leaves(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
        children = getattr(command, "commands", None)
        if not children:
            return [(path, command)]
        return [leaf for name, child in children.items() for leaf in leaves(child, (*path, name))]

    documented = [tuple(words) for words in commands()]
    for path, command in leaves(typer.main.get_command(app), ()):
        assert any(words[: len(path)] == path for words in documented), f"e2emern {' '.join(path)} is not in the docs"
        assert "Example:" in (command.epilog or ""), f"e2emern {' '.join(path)} --help has no example"


def test_the_help_of_sql_names_every_table() -> None:
    from flows.cli.tables import sql

    told = re.search(r"Tables: (.*?);", sql.__doc__ or "", re.DOTALL)
    assert told is not None
    assert set(re.split(r",\s+", told[1])) == {*VIEWS, *TABLES, "annotations"}


if __name__ == "__main__":
    TABLES_PAGE.write_text(tables_page(), encoding="utf-8")
    queries = QUERIES_PAGE.read_text(encoding="utf-8")
    QUERIES_PAGE.write_text(QUERIES.sub(lambda _: queries_section(), queries), encoding="utf-8")
    for page in FIGURE_PAGES:
        text = page.read_text(encoding="utf-8")
        for block, table in ((FIGURES, figures_table()), (HELD_OUT, held_out_table())):
            text = block.sub(lambda _, table=table: table, text)
        page.write_text(text, encoding="utf-8")

"""The documentation agrees with the code: tables, named queries, commands, and the figures of the model card.

`python -m tests.test_docs` writes docs/tables.md, docs/commands.md, the list in docs/queries.md, and the figures.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from e2emern.defaults import MODEL
from e2emern.warehouse.queries import library
from e2emern.warehouse.snapshots.views import LISTS, TABLES, VIEWS
from e2emern.warehouse.sources.constraints import CONSTRAINTS

ROOT = Path(__file__).resolve().parent.parent
TABLES_PAGE = ROOT / "docs" / "tables.md"
QUERIES_PAGE = ROOT / "docs" / "queries.md"
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
FIGURE_PAGES = (ROOT / "README.md", MODEL / "README.md")
LINKING_PAGES = [*sorted(ROOT.glob("*.md")), MODEL / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUERIES = re.compile(r"(?<=<!-- queries -->\n\n).*?(?=\n\n<!-- /queries -->)", re.DOTALL)
FIGURES = re.compile(r"(?<=<!-- figures -->\n\n).*?(?=\n\n<!-- /figures -->)", re.DOTALL)
HELD_OUT = re.compile(r"(?<=<!-- held out -->\n\n).*?(?=\n\n<!-- /held out -->)", re.DOTALL)
SHIPPED = MODEL / "metrics.json"
TRAIN = MODEL / "metrics.train.json"  # of a model that was trained only on train


def tables_page() -> str:
    """Return docs/tables.md, made from the schemas."""
    described = VIEWS | {name: (schema, text) for name, (schema, text, _sql) in LISTS.items()} | TABLES
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
    """Return the list of named queries in docs/queries.md, made from their headers."""
    lines = []
    for one in library().values():
        lines += [f"### `{one.name}`", "", f"{one.description} {one.notes}".strip(), ""]
        if one.parameters:
            lines += ["| option | default | |", "|---|---|---|"]
            for each in one.parameters:
                default = "required" if each.required else "" if each.default == "null" else each.default
                lines.append(f"| `--{each.name} {each.kind.upper()}` | {default} | {each.description} |")
            lines.append("")
        lines += ["```sh", one.example, "```", ""]
    return "\n".join(lines).rstrip()


def commands_page() -> str:
    """Return docs/commands.md: the help of every command, in the order of the work."""
    from e2emern.flows.cli import app
    from e2emern.flows.cli.parts import SECTIONS

    top: Any = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "The help of every command, as `e2emern COMMAND --help` prints it. The named queries of `e2emern query` are in",
        "[queries.md](queries.md).",
    ]
    for section, names in SECTIONS.items():
        lines += ["", f"## {section}"]
        for name in names:
            below = [(name, *path) for path, _ in leaves(top.commands[name])] if name != "query" else [(name,)]
            for path in below:
                shown = CliRunner().invoke(app, [*path, "--help"], prog_name="e2emern", terminal_width=80)
                lines += ["", f"### e2emern {' '.join(path)}", "", "```text", shown.stdout.strip(), "```"]
    return "\n".join(lines) + "\n"


Figures = dict[tuple[str, str, str, str], float]
"""Corpus, type, protocol and figure to its value."""


def figures_of(path: Path) -> Figures:
    return {
        (row["corpus"], row["entity_type"], row["protocol"], name): row[name]
        for row in json.loads(path.read_text())["rows"]
        for name in ("f1", "accuracy@1", "recall@8", "exact_match", "floor", "ceiling")
        if row.get(name) is not None
    }


MEASURED = (("ner", "f1"), ("mention", "f1"), ("document", "f1"), ("link", "accuracy@1"))
BOUNDS = (("link", "recall@8"), ("link", "exact_match"), ("link", "floor"), ("link", "ceiling"))


def figures_table() -> str:
    """Return the table of dev scores of the model trained only on the train splits."""
    found = figures_of(TRAIN)
    lines = [
        "| corpus, dev | type | `ner` F1 | `mention` F1 | `document` F1 "
        "| `link` acc@1 | recall@8 | exact match | floor | ceiling |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for corpus, kind in dict.fromkeys(key[:2] for key in found if key[0].endswith("/dev")):
        cells = [f"{100 * found[corpus, kind, *figure]:.1f}" for figure in (*MEASURED, *BOUNDS)]
        lines.append(f"| {corpus.removesuffix('/dev')} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def held_out_table() -> str:
    """Return the table of a corpus that no model was trained on."""
    columns = ["type", "trained on", "`ner` F1", "`mention` F1", "`document` F1", "`link` acc@1"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for kind in ("Chemical", "Disease"):
        for trained_on, path in (("train", TRAIN), ("train + dev", SHIPPED)):
            found = figures_of(path)
            cells = [f"{100 * found['biored/held-out', kind, *figure]:.1f}" for figure in MEASURED]
            lines.append(f"| {kind} | {trained_on} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_tables_page_matches_the_schemas() -> None:
    assert TABLES_PAGE.read_text(encoding="utf-8") == tables_page()


def test_the_queries_page_matches_the_headers() -> None:
    found = QUERIES.search(QUERIES_PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group() == queries_section()


def test_the_commands_page_matches_the_help() -> None:
    assert COMMANDS_PAGE.read_text(encoding="utf-8") == commands_page(), "run python -m tests.test_docs"


@pytest.mark.parametrize("page", FIGURE_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_match_the_metrics(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block, table in ((FIGURES, figures_table()), (HELD_OUT, held_out_table())):
        found = block.search(text)
        assert found is not None
        assert found.group() == table


def test_metrics_belong_to_the_shipped_model() -> None:
    from e2emern.model.version import model_version

    metrics = json.loads(SHIPPED.read_text())
    assert metrics["model_version"] == model_version(MODEL)


def test_benchmarks_in_the_readme_match_the_results() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    found = dict(
        re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+)(?: GB)? \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    measured = {
        name: one for name, one in results.items() if isinstance(one, dict) and {"ratio", "gigabytes"} & set(one)
    }
    assert found == {name: f"{one.get('ratio', one.get('gigabytes')):.2f}" for name, one in measured.items()}


def test_the_operations_guide_uses_the_measured_speed() -> None:
    speed = json.loads((ROOT / "benchmarks" / "results.json").read_text())["annotate_over_encoder"][
        "abstracts_per_second"
    ]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"{speed:.1f} abstracts a second" in page
    assert f"| 1 | {40e6 / speed / 86_400:.0f} |" in page
    assert f"on one of them {50_000 / speed / 60:.0f} minutes" in page


def commands() -> list[list[str]]:
    """Return every `e2emern ...` command line of the README, the card and the docs, split into words."""
    pages = [*FIGURE_PAGES, *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    joined = "\n".join(blocks).replace("\\\n", " ")
    lines = re.findall(r"^e2emern (?:[^\n\"']|\"[^\"]*\"|'[^']*')*", joined, re.MULTILINE)  # a quote may span lines
    return [shlex.split(line, comments=True)[1:] for line in lines]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_headings() -> None:
    for page in LINKING_PAGES:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if link.startswith(("http://", "https://")):
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), (page, link)
            assert not anchor or anchor in anchors(target), (page, link)


def test_documented_commands_exist_with_their_options() -> None:
    from e2emern.flows.cli import app

    top: Any = typer.main.get_command(app)
    for line in commands():
        command, words = top, line
        while getattr(command, "commands", None):
            assert words[0] in command.commands, line
            command, words = command.commands[words[0]], words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known, line


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return the commands below a group, each with the words that call it."""
    children = getattr(command, "commands", None)
    if not children:
        return [(path, command)]
    return [leaf for name, child in children.items() for leaf in leaves(child, (*path, name))]


def test_every_command_is_documented_and_has_an_example() -> None:
    from e2emern.flows.cli import app

    documented = [tuple(words) for words in commands()]
    for path, command in leaves(typer.main.get_command(app)):
        assert any(words[: len(path)] == path for words in documented), f"e2emern {' '.join(path)} is not in the docs"
        assert "Example:" in (command.epilog or ""), f"e2emern {' '.join(path)} --help has no example"


def test_the_help_of_sql_names_every_table() -> None:
    from e2emern.flows.cli.sql import sql

    listed = re.search(r"Tables: (.*?);", sql.__doc__ or "", re.DOTALL)
    assert listed is not None
    assert set(re.split(r",\s+", listed[1])) == {*VIEWS, *LISTS, *TABLES}


if __name__ == "__main__":
    TABLES_PAGE.write_text(tables_page(), encoding="utf-8")
    COMMANDS_PAGE.write_text(commands_page(), encoding="utf-8")
    queries = QUERIES_PAGE.read_text(encoding="utf-8")
    QUERIES_PAGE.write_text(QUERIES.sub(lambda _: queries_section(), queries), encoding="utf-8")
    for page in FIGURE_PAGES:
        text = page.read_text(encoding="utf-8")
        for block, table in ((FIGURES, figures_table()), (HELD_OUT, held_out_table())):
            text = block.sub(lambda _, table=table: table, text)
        page.write_text(text, encoding="utf-8")

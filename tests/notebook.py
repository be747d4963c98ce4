"""Run the cells of docs/notebook.ipynb as a notebook does; `python -m tests.notebook` writes their output into it.

Format: nbformat 4, https://nbformat.readthedocs.io. The cells run in this process: a Jupyter kernel would need thirty
more packages, and load the model once more.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def read() -> dict[str, Any]:
    """Return the notebook."""
    found: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return found


def run(notebook: dict[str, Any], names: dict[str, Any]) -> list[tuple[dict[str, Any], object]]:
    """Run the code cells in order, and return each with the value of its last line, None if that is a statement."""
    done = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NOTEBOOK.name, "exec"), names)
        value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if last else None
        done.append((cell, value))
    return done


def shown(value: object) -> dict[str, list[str]]:
    """Return the notebook's output for a value, by media type; HTML if the value supports it."""
    as_html = getattr(value, "_repr_html_", None)
    found = {"text/html": as_html()} if as_html else {"text/plain": repr(value)}
    return {kind: text.splitlines(keepends=True) for kind, text in found.items()}


def main() -> None:
    notebook = read()
    for number, (cell, value) in enumerate(run(notebook, {}), start=1):
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown(value)}
        cell |= {"execution_count": number, "outputs": [] if value is None else [result]}
    Path(NOTEBOOK).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Annotate a text given on the command line: `text`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from e2emern.defaults import MESH
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Device, Mesh, OnDevice, OptionalHome


@app.command(epilog='Example: e2emern text "Metformin lowers the risk of gout in type 2 diabetes."')
def text(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="The text; - for standard input.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="Model folder, or a model version in the home.", show_default="the bundled one"
        ),
    ] = None,
    mesh: Mesh = MESH,
    home: OptionalHome = None,
    device: OnDevice = Device.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a text with its mentions marked, and a table of them. Nothing is stored, and no home is needed.

    If the output is not a terminal, a mention is marked as [words|D012345]. Offsets count the characters of the text.
    """
    from e2emern.flows.cli.render import show_mentions
    from e2emern.flows.cli.terminal import VisibleConsole, show_passages
    from e2emern.flows.visible import visible_json
    from e2emern.tasks.errors import InputError
    from e2emern.tasks.parsers.text import flat, lay_out_text
    from e2emern.tasks.texts import annotate_texts, load_for_texts

    given = _standard_input() if words == ["-"] else " ".join(words)
    if "\0" in given or not given.strip():
        raise InputError("no text" if not given.strip() else "a NUL character, so it is not text")
    with TemporaryDirectory(prefix="e2emern-") as folder:
        cascade = load_for_texts(model, mesh, home=home, cache=Path(folder), device=device.value)
        (annotated,) = annotate_texts([given], cascade=cascade)
    if annotated.error:
        raise InputError(annotated.error)
    mentions = annotated.mentions
    if as_json:
        found = [asdict(mention) for mention in mentions]
        versions = {"model_version": cascade.model_version, "mesh_version": cascade.mesh_version}
        answer = {"text": given, **versions, "mentions": found}
        print(visible_json(json.dumps(answer, indent=1, ensure_ascii=not sys.stdout.encoding.startswith("utf"))))
        return
    console = VisibleConsole()
    show_passages(lay_out_text(given), mentions, console=console)
    console.print()
    flattened = [replace(mention, text=flat(mention.text)) for mention in mentions]
    show_mentions(flattened, console=console, advice="widen the terminal or use --json")


def _standard_input() -> str:
    from e2emern.tasks.errors import InputError
    from e2emern.tasks.parsers.text import LONGEST_TEXT

    if sys.stdin.isatty():
        say("reading standard input; end it with Ctrl-D")
    data = sys.stdin.buffer.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise InputError(f"a text of more than {LONGEST_TEXT:,} bytes; annotate it as a file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"byte 0x{data[error.start]:02X} is not UTF-8", path="standard input") from error

"""Score models, and describe and prepare gold corpora: `evaluate`, `statistics` and `corpus`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from e2emern.defaults import MESH, MODEL
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import AnswerFormat, Device, Entities, Form, GoldFiles, OnDevice, Seen


class Protocol(StrEnum):
    """The rule that decides whether a prediction is correct; docs/evaluation.md defines each."""

    NER = "ner"
    LINK = "link"
    MENTION = "mention"
    DOCUMENT = "document"
    PAPER = "paper"


@app.command(epilog="Example: e2emern evaluate bc5cdr.dev.PubTator --seen bc5cdr.train.PubTator --output scores")
def evaluate(
    gold: GoldFiles,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the figures and the report.")],
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Model folder; several are seeds of one model.", show_default="bundled"),
    ] = None,
    mesh: Entities = MESH,
    protocol: Annotated[list[Protocol] | None, typer.Option(help="One or more.", show_default="all")] = None,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also score slices: seen and unseen, abbreviations and more.")
    ] = False,
    seen: Seen = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Another model, to compare with on the same documents.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with charts and intervals.")
    ] = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Score models on gold documents, and write evaluation.json, evaluation.parquet and report.md.

    Every figure comes with a floor, from looking up the training mentions, and the ceiling that the vocabulary sets.
    """
    from e2emern.tasks.training.gold import find_gold

    documents, training = find_gold(gold, log=say), find_gold(seen or [], log=say)
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.tasks.evaluation.evaluate import evaluate_models, write_evaluation
    from e2emern.warehouse.layout import Home

    with TerminalProgress() as progress:
        found = evaluate_models(
            model or [MODEL],
            documents,
            mesh=mesh,
            home=Home(output),
            seen=training,
            protocols=[each.value for each in protocol or Protocol],
            slices=slices,
            against=against or [],
            device=device.value,
            progress=progress,
            log=say,
        )
    write_evaluation(found, output)
    print(found.report, end="")
    say(f"wrote evaluation.json, evaluation.parquet and report.md to {output}")
    if html:
        from e2emern.flows.report.evaluation import evaluation_report
        from e2emern.tasks.devices import pick_device
        from e2emern.warehouse.files import atomic_write

        place = pick_device(device.value)
        with atomic_write(html) as file:
            file.write(evaluation_report(found, model or [MODEL], device=place).encode())
        say(f"wrote {html}")


@app.command(epilog="Example: e2emern statistics bc5cdr.train.PubTator bc5cdr.dev.PubTator --format csv")
def statistics(
    gold: GoldFiles,
    mesh: Entities = MESH,
    form: Form = AnswerFormat.TABLE,
) -> None:
    """Count the documents, sentences, mentions and concepts of gold corpora, by split and in total."""
    from e2emern.flows.cli.render import print_answer
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.tasks.training.gold import find_gold, read_statistics

    counts = read_statistics(find_gold(gold, log=say), mesh=mesh, log=say)
    print_answer(counts, form=form.value, console=VisibleConsole())


@app.command(
    epilog="Example: e2emern corpus ncbi-disease/dev=dev.PubTator --annotates ncbi-disease=Disease --output c.parquet"
)
def corpus(
    gold: Annotated[
        list[str], typer.Argument(metavar="CORPUS/SPLIT=FILE...", help="PubTator, or .tsv of B, I, O tags.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="Parquet file to write.")],
    mesh: Entities = MESH,
    annotates: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS=TYPE", help="Types that a corpus annotates, if not both."),
    ] = None,
) -> None:
    """Join gold files into one prepared corpus, for `train` and `evaluate`, and for a machine without this package.

    Sentences are split and abbreviations found once, here.
    """
    from e2emern.tasks.training.gold import join_corpora

    join_corpora(gold, annotates=annotates or [], output=output, mesh=mesh)

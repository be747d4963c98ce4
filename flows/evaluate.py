"""The `evaluate` deployment: compare a model of a home with the champion on gold files, and publish the scores.

Deploy it with `e2emern deploy`, and run it with
`prefect deployment run evaluate/evaluate --param 'gold=["/data/gold/dev.PubTator"]' --param model=7f16417c594a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from e2emern.defaults import MESH, SAMPLE
from e2emern.flows.artifacts import show_evaluation
from e2emern.flows.live_artifacts import ProgressArtifact
from e2emern.flows.run_names import named
from e2emern.flows.settings import Device, read_settings
from e2emern.model.progress import Progress, silent
from e2emern.tasks.devices import describe_device
from e2emern.tasks.evaluation.promotion import assess, publish_ledger
from e2emern.tasks.evaluation.promotion_gate import Margins
from e2emern.tasks.models import read_versions
from e2emern.tasks.resolve import find_mesh, find_model, snapshot_mesh
from e2emern.tasks.training.gold import find_gold
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import Judged


@flow(name="evaluate", flow_run_name=named("evaluate"), persist_result=False)
def evaluate(
    gold: Annotated[list[str], Field(min_length=1)],
    seen: list[str] | None = None,
    model: str | None = None,
    home: Path | None = None,
    mesh: str | None = None,
    device: Device | None = None,
    margins: Margins | None = None,
    sample: Path = SAMPLE,
) -> None:
    """Evaluate a model on gold files. If it is not the champion, compare the two and record the verdict of the gate.

    Nothing is promoted: `retrain` and `e2emern models promote` do that.

    Args:
        gold: FILE or CORPUS/SPLIT=FILE, PubTator or a corpus of `e2emern corpus`.
        seen: training documents, in the same form; they give the floor, and mentions that they lack count as unseen.
        model: version of a model in the home, or a model folder; by default the champion.
        home: folder of the tables; by default that of the settings.
        mesh: version of MeSH in the home, or an entities table; if the settings name none, that of the tables.
        device: device for the model; auto is cuda if available.
        margins: how much worse than the champion the model may be.
        sample: a file of real text that the model must be able to annotate.
    """
    settings = read_settings(home=home, mesh=mesh, device=device)
    place = open_home(settings.home)
    get_run_logger().info(f"device {describe_device(settings.device)}")
    with ProgressArtifact("evaluation") as progress:
        judged, summary = judge(
            place,
            gold=gold,
            seen=seen or [],
            model=model,
            mesh=Path(settings.mesh or snapshot_mesh(place) or MESH),
            device=settings.device,
            margins=margins,
            sample=sample,
            progress=progress,
        )
    show_evaluation(place, judged, explorer=settings.explorer)
    get_run_logger().info(summary)


def judge(
    home: Home,
    *,
    gold: Sequence[str],
    seen: Sequence[str] = (),
    model: str | None = None,
    mesh: Path = MESH,
    device: str = "auto",
    margins: Margins | None = None,
    sample: Path = SAMPLE,
    progress: Progress = silent,
) -> tuple[Judged, str]:
    """Do the same as the flow, and return the verdict, which is stored in the home, with a line that sums it up.

    Raises InputError if a model, the vocabulary or the gold cannot be used.
    """
    table = find_mesh(mesh, home=home)
    folder, champion = find_model(model, home=home), find_model(None, home=home)
    same = read_versions(folder, table) == read_versions(champion, table)
    judged = assess(
        folder,
        champion=None if same else champion,
        home=home,
        gold=find_gold(gold),
        seen=find_gold(seen),
        mesh=table,
        margins=margins,
        sample=sample,
        device=device,
        progress=progress,
    )
    verdict = {None: "is evaluated", True: "passes the gate", False: f"is refused: {'; '.join(judged.reasons)}"}
    return judged, f"model {judged.challenger} {verdict[judged.passed]}{publish_ledger(home)}"

"""The check after each night: emit an event for drift, for new corrections and for a new version of MeSH.

Automations react to the events: the triggers of deployments in `prefect.yaml`, or any other that an operator sets up.

`nightly` runs this check with `watch`, so it needs no deployment. The flow `drift` repeats the check for one home:
`python -c 'from e2emern.flows.drift import drift; drift(home="/data/home")'`.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from e2emern.flows.artifacts import artifact_key
from e2emern.flows.events import CORRECTIONS, DRIFT, MESH_VERSION, emit
from e2emern.flows.run_names import named
from e2emern.flows.settings import read_settings
from e2emern.tasks.evaluation.drift import Drift, DriftLimits, note_news, read_drift, read_news
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import plural


@flow(name="drift", flow_run_name=named("drift"), persist_result=False)
def drift(home: Path | None = None, corrections: Path | None = None, limits: DriftLimits | None = None) -> None:
    """Compare the last night with earlier ones, and emit events for drift and for new inputs.

    Args:
        home: folder of the tables; by default that of the settings.
        corrections: folder of corrected PubTator files; by default `corrections` of the home.
        limits: largest allowed differences from earlier nights; by default those of the settings.
    """
    settings = read_settings(home=home)
    watch(open_home(settings.home), corrections=corrections, limits=limits or settings.drift)


def watch(home: Home, *, corrections: Path | None = None, limits: DriftLimits | None = None) -> Drift | None:
    """Do the same as the flow, but within another flow; return the comparison, None without a snapshot.

    Emit `e2emern.drift` each time the last night has drifted, `e2emern.corrections` each time corrections are pending,
    and `e2emern.mesh` once for each version. Raises WarehouseError if the home cannot be read.
    """
    found = read_drift(home, limits=limits)
    if found is not None:
        _show(home, found)
        if found.drifted:
            emit(home, DRIFT, _figures(found))
    news = read_news(home, corrections=corrections)
    if news.corrections:
        emit(home, CORRECTIONS, {"files": list(news.corrections)})
    if news.mesh:
        emit(home, MESH_VERSION, {"versions": list(news.mesh)})
    if news.corrections or news.mesh:
        note_news(home, news)  # after the events: a run killed in between emits them again
    return found


def _figures(found: Drift) -> dict[str, object]:
    return {
        "night": found.date,
        "nights": found.nights,
        "drifted": found.drifted,
        "figures": {
            one.name: {"usual": one.usual, "tonight": one.tonight, "off": one.off, "limit": one.limit}
            for one in found.figures
        },
    }


def _show(home: Home, found: Drift) -> None:
    rows = [
        {
            "figure": one.name,
            "usual": "" if one.usual is None else f"{one.usual:,.3f}",
            "tonight": "" if one.tonight is None else f"{one.tonight:,.3f}",
            "off by": f"{one.off:.3f}",
            "limit": f"{one.limit:.3f}",
            "": "drifted" if one.drifted else "",
        }
        for one in found.figures
    ]
    description = f"{found.date} compared with {plural(found.nights, 'night')} before"
    if not rows:
        description += ": too few to compare"
    else:
        description += f": drifted in {', '.join(found.drifted)}" if found.drifted else ": not drifted"
    create_table_artifact(rows, key=artifact_key("drift", home.root.name), description=description)

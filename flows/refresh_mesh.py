"""The `refresh-mesh` deployment: import a new version of MeSH, and relink the stored mentions that it affects.

Deploy it with `e2emern deploy`, and run it with
`prefect deployment run refresh-mesh/refresh-mesh --param 'sources=["/data/desc2027.xml", "/data/supp2027.xml"]'`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from e2emern.flows.live_artifacts import ProgressArtifact
from e2emern.flows.relink import relink
from e2emern.flows.run_names import named
from e2emern.flows.settings import Device, read_settings
from e2emern.tasks.devices import describe_device
from e2emern.tasks.mesh.importing import import_mesh
from e2emern.tasks.resolve import snapshot_model
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.wording import plural


@flow(name="refresh-mesh", flow_run_name=named("refresh-mesh"), persist_result=False)
def refresh_mesh(
    sources: Annotated[list[Path], Field(min_length=1)],
    version: str | None = None,
    home: Path | None = None,
    device: Device | None = None,
) -> None:
    """Import a version of MeSH, relink the stored mentions that it affects, and publish.

    Later nights annotate with it, unless the setting `mesh` names another version. If the home has no snapshot, they
    use it only if that setting names it.

    Args:
        sources: NLM's desc and supp XML, CTD_diseases.tsv, plain or compressed, or a folder of compact tables.
        version: name of this version; by default the year of NLM's files.
        home: folder of the tables; by default that of the settings.
        device: device for the model; auto is cuda if available.
    """
    log = get_run_logger()
    settings = read_settings(home=home, device=device)
    place = open_home(settings.home)
    log.info(f"device {describe_device(settings.device)}")
    imported = import_mesh(sources, version=version, home=place)
    concepts, failed = plural(imported.concepts, "concept"), plural(imported.failed, "record")
    log.info(f"MeSH {imported.mesh_version}: {concepts}, {failed} failed")
    current = current_snapshot(place)
    if current is None or current.mesh_version == imported.mesh_version:
        return
    model = snapshot_model(place) or settings.model
    with ProgressArtifact("relink") as progress:
        outcome = relink(
            settings.home,
            mesh=imported.mesh_version,
            model=model,
            device=settings.device,
            limits=settings.publishing,
            progress=progress,
        )
    log.info(f"{plural(outcome.total('spans'), 'mention')} linked again; snapshot {outcome.snapshot.number}")

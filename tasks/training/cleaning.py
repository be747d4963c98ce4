"""Delete the leftovers of ended retrainings: corpora, checkpoints, copies of models, and old refused challengers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from e2emern.tasks.training.retrain import ENDED
from e2emern.warehouse.files import is_locked
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import expired_models
from e2emern.warehouse.registry.models import remove_model
from e2emern.warehouse.wording import plural

KEEP_DAYS = 30.0
"""Days that refused challengers and interrupted retrainings are kept."""
_SMALL = (ENDED, "data.json")
_DAY_S = 86_400


def clean(home: Home, *, days: float = KEEP_DAYS, log: Callable[[str], None]) -> None:
    """Delete the files of ended retrainings; after `days`, also interrupted ones, prepared corpora and refused models.

    Never deletes an evaluation, or a model that was promoted, was evaluated on its own, or annotated the current
    tables.
    """
    for path in stale_training(home, days=days):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    expired = expired_models(home, days=days)
    for version in expired:
        remove_model(home, version)
    if expired:
        log(f"deleted {plural(len(expired), 'challenger')}, refused more than {days:g} days ago: {', '.join(expired)}")


def stale_training(home: Home, *, days: float) -> list[Path]:
    """Return the paths that `clean` deletes in the folder of retrainings; small records of ended ones are kept."""
    old = time.time() - days * _DAY_S
    found: list[Path] = []
    for folder in sorted(home.training.glob("*/")):
        if is_locked(folder / ".lock"):  # a retraining is running
            continue
        if (folder / ENDED).exists():
            found += sorted(path for path in folder.iterdir() if path.is_dir() or path.name not in _SMALL)
        elif max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < old:
            found.append(folder)
    return found + [path for path in sorted(home.training.glob("corpus.*.parquet")) if path.stat().st_mtime < old]

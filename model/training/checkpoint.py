"""Saves and restores the state of a long training, so that a killed run can be resumed.

Everything is safetensors and JSON, never pickle. A checkpoint is a folder that is written under a temporary name and
renamed, so that a kill while saving leaves the previous checkpoint in place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from e2emern.model.files import write_text

CHECKPOINT = "checkpoint"
_OLD = "checkpoint.old"


def save_checkpoint(
    folder: Path,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights, optimizer moments, `progress` (JSON values) and the `best` weights to `folder/checkpoint`."""
    new = folder / f"{CHECKPOINT}.tmp"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    save_file(copy_weights(model), new / "model.safetensors")
    moments = {
        f"{index}/{name}": value.detach().clone()
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }
    save_file(moments, new / "optimizer.safetensors")
    if best is not None:
        save_file(dict(best), new / "best.safetensors")
    (new / "progress.json").write_text(json.dumps(progress))
    old, final = folder / _OLD, folder / CHECKPOINT
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        final.rename(old)
    new.rename(final)
    if old.exists():
        shutil.rmtree(old)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Return the progress saved in `folder`; None without a checkpoint."""
    found = _place(folder)
    progress: dict[str, Any] | None = json.loads((found / "progress.json").read_text()) if found else None
    return progress


def load_checkpoint(
    folder: Path, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor] | None:
    """Restore `model` and `optimizer` in place, and return the best weights, None if none are kept.

    Raises:
        FileNotFoundError: no checkpoint exists (see `read_progress`).
    """
    found = _place(folder)
    if found is None:
        raise FileNotFoundError(f"{folder}: no checkpoint")
    model.load_state_dict(load_file(found / "model.safetensors"))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(found / "optimizer.safetensors").items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    best = found / "best.safetensors"
    return load_file(best) if best.exists() else None


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a finished training, and the remains of killed saves."""
    for name in (f"{CHECKPOINT}.tmp", _OLD, CHECKPOINT):
        shutil.rmtree(folder / name, ignore_errors=True)


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the weights on the CPU in separate storage; safetensors refuses tied weights that share theirs."""
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}


def trim_curve(curve: Path, *, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the rows of a curve of JSON lines that a killed run wrote after its last checkpoint."""
    if curve.exists():
        rows = curve.read_text().splitlines(keepends=True)
        kept = [row for row in rows if row.endswith("\n") and keep(json.loads(row))]
        write_text(curve, "".join(kept))


def _place(folder: Path) -> Path | None:
    """Return the folder of the checkpoint: the old one if a save was killed while renaming, None without any."""
    return next((folder / name for name in (CHECKPOINT, _OLD) if (folder / name).exists()), None)

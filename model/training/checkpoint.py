"""Saves and restores the state of a long training so that a killed run goes on where it stopped.

Everything is safetensors and JSON, never pickle. A checkpoint is a folder written beside its final
name and renamed, so a kill while saving leaves the previous checkpoint in place.
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

from ..files import write_text

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
    """Writes weights, optimizer moments, `progress` (JSON values) and the `best` weights to `folder/checkpoint`."""
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
    """The progress saved in `folder`; None where there is no checkpoint."""
    found = _place(folder)
    progress: dict[str, Any] | None = json.loads((found / "progress.json").read_text()) if found else None
    return progress


def load_checkpoint(
    folder: Path, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor] | None:
    """Restores `model` and `optimizer` in place and returns the best weights, None where none are kept.

    Raises:
        FileNotFoundError: there is no checkpoint (`read_progress` tells).
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
    """Deletes the checkpoint of a training that is done, and what a kill left of one."""
    for name in (f"{CHECKPOINT}.tmp", _OLD, CHECKPOINT):
        shutil.rmtree(folder / name, ignore_errors=True)


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights on the CPU, each in storage of its own: tied weights share theirs, which safetensors refuses."""
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}


def trim_curve(curve: Path, *, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drops the rows of a curve of JSON lines that a killed run wrote after its last checkpoint."""
    if curve.exists():
        rows = curve.read_text().splitlines(keepends=True)
        kept = [row for row in rows if row.endswith("\n") and keep(json.loads(row))]
        write_text(curve, "".join(kept))


def _place(folder: Path) -> Path | None:
    """Where the checkpoint is: under its name, or under that of the old one if a save was killed while renaming."""
    return next((folder / name for name in (CHECKPOINT, _OLD) if (folder / name).exists()), None)

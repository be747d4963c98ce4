"""Saves and restores the state of a long training so that a killed run goes on where it stopped.

Everything is safetensors and JSON, never pickle. A checkpoint is a folder written beside its final
name and renamed, so a kill while saving leaves the previous checkpoint in place.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

CHECKPOINT = "checkpoint"
_OLD = "checkpoint.old"


def save_checkpoint(
    folder: Path, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Writes weights, optimizer moments and `progress` (JSON values) to `folder/checkpoint`."""
    new = folder / f"{CHECKPOINT}.tmp"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    # Tied weights share storage; clone() gives each name its own, which safetensors requires.
    save_file({k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}, new / "model.safetensors")
    moments = {
        f"{index}/{name}": value.detach().clone()
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }
    save_file(moments, new / "optimizer.safetensors")
    (new / "progress.json").write_text(json.dumps(progress))
    old, final = folder / _OLD, folder / CHECKPOINT
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        final.rename(old)
    new.rename(final)
    if old.exists():
        shutil.rmtree(old)


def load_checkpoint(folder: Path, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restores `model` and `optimizer` in place and returns the saved progress; None where there is none."""
    found = folder / CHECKPOINT
    if not found.exists():  # killed between the two renames of a save
        found = folder / _OLD
    if not found.exists():
        return None
    model.load_state_dict(load_file(found / "model.safetensors"))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(found / "optimizer.safetensors").items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    progress: dict[str, Any] = json.loads((found / "progress.json").read_text())
    return progress

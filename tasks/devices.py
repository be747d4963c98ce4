"""The device of the model on this host: chosen by name, described for logs and records."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from pathlib import Path

from e2emern.tasks.errors import InputError

DEVICES = ("auto", "cpu", "cuda")
_LOG = logging.getLogger("e2emern")


def pick_device(name: str) -> str:
    """Return `cpu` or `cuda`; `auto` is cuda if a GPU can be used. Log a warning if `auto` leaves a GPU unused.

    Raises InputError for a missing device.
    """
    if name not in DEVICES:
        raise InputError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    if name == "cpu" or (name == "auto" and not has_gpu()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise InputError(f"no CUDA device was found ({_reason()}); use the device cpu")
    _warn(f"device auto: a GPU of this host cannot be used, and the model runs on the CPU ({_reason()})")
    return "cpu"


def describe_device(name: str) -> str:
    """Return the device that `pick_device` picks, with the model of a GPU. Raises InputError for a missing device."""
    device = pick_device(name)
    if device == "cpu":
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name()})"


def has_gpu() -> bool:
    """Return whether this host has a visible NVIDIA GPU, also under WSL, that CUDA_VISIBLE_DEVICES does not hide."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    devices = (
        *Path("/proc/driver").glob("nvidia/gpus/*"),
        *Path("/dev").glob("nvidia[0-9]*"),
        *Path("/dev").glob("dxg"),
    )
    return bool(devices)


def _reason() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA; install its CUDA wheel"
    if not has_gpu():
        return "no NVIDIA driver is loaded, or CUDA_VISIBLE_DEVICES is empty"
    return f"torch was built for CUDA {torch.version.cuda}; compare the driver's version in nvidia-smi"


@cache
def _warn(line: str) -> None:
    """Log a warning, once per process."""
    _LOG.warning(line)


def main() -> None:
    """Print the device for a name, or exit with the reason why there is none."""
    try:
        print(describe_device(sys.argv[1]))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

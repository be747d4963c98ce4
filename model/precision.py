"""Which precision a device computes fastest in, among those that the model is exact enough in."""

from __future__ import annotations

import torch

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def fastest_precision(device: str) -> str:
    """`bf16` where the device multiplies in it, else `fp32`.

    Processors without AVX512-BF16 or AMX emulate bf16: there it is 9 times slower than fp32 at inference, and 20 times
    in training.
    """
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # torch has a public list of what a processor can do from 2.13 on only.
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def fastest_batch(device: str) -> int:
    """Word pieces a batch. In fp32 on a processor small ones are the faster by a sixth: they stay in its caches."""
    return 1024 if torch.device(device).type == "cpu" and fastest_precision(device) == "fp32" else 4096


def fastest_dtype(device: str) -> torch.dtype:
    """The type of weights in the device's fastest precision."""
    return PRECISIONS[fastest_precision(device)]

"""JSON records that hold the SHA-256 of their own content, so that a changed bit is found when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_HEAD = '{{"sha256": "{}", '


def seal(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object of this content, which is not empty, with the digest of its bytes as first key."""
    rest = json.dumps(content).encode()[1:] + b"\n"
    return _head(rest) + rest


def unseal(written: bytes) -> dict[str, Any]:
    """Return the content of what `seal` returned. Raises ValueError if it is anything else."""
    rest = written[len(_head(b"")) :]
    if written != _head(rest) + rest:
        raise ValueError("its SHA-256 differs from the one in it")
    content: dict[str, Any] = json.loads(written)
    del content["sha256"]
    return content


def _head(rest: bytes) -> bytes:
    return _HEAD.format(hashlib.sha256(rest).hexdigest()).encode()

"""A sealed record reads as it was written, or not at all."""

from __future__ import annotations

import pytest

from e2emern.warehouse.sealed import seal, unseal


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    content = {"run_id": "00000001-x", "sources": [{"name": "a"}], "error": None}
    written = seal(content)
    assert written == (
        b'{"sha256": "8a5f", "run_id": "00000001-x", "sources": [{"name": "a"}], "error": null}\n'.replace(
            b"8a5f", written[12:76]
        )
    )
    assert unseal(written) == content
    for bit in range(8 * len(written)):
        damaged = bytearray(written)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="SHA-256 differs"):
            unseal(bytes(damaged))
    for end in range(len(written)):
        with pytest.raises(ValueError, match="SHA-256 differs"):
            unseal(written[:end])

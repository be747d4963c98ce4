"""The version of the parser, which is part of the digest of every source that it read."""

from __future__ import annotations

from typing import Final

PARSER: Final = 1
"""Increase it with every change that makes other documents, deletions or failures from some dump file.

The next run then parses the dump files again, as if they had been issued again; the old rows stay until the new ones
are published. `tests/tasks/parsers/test_version.py` fails if this is forgotten.
"""

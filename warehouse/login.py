"""The user whose name is recorded with a change."""

from __future__ import annotations

import getpass
import os


def login() -> str:
    """Return the login name of the user of this process, or the user id if it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())

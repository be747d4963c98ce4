"""The authentication string of a Prefect server: `python -m e2emern.flows.credentials` prints it.

It is created on first use, in a file that only its owner can read. `make` passes it to the server, the workers and
Prefect's commands. Without it, any web page that the operator opens could start runs on the workers, because a browser
can reach a server on 127.0.0.1.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

_USER = "e2emern"


def secret_file() -> Path:
    """Return the path of the file: in the folder of Prefect, `PREFECT_HOME` or `~/.prefect`."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser() / "e2emern-auth"


def auth_string() -> str:
    """Return `USER:PASSWORD`, the value of Prefect's setting PREFECT_API_AUTH_STRING; create the file if needed.

    Raises OSError if the file cannot be read or made, PermissionError if others can read it.
    """
    path = secret_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}-{os.getpid()}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{_USER}:{secrets.token_urlsafe(32)}\n")
        with suppress(FileExistsError):  # another process was first
            os.link(made, path)
        made.unlink()
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others; run: chmod 600 {path}")
    return path.read_text().strip()


def main() -> None:
    """Print the string."""
    try:
        print(auth_string())
    except OSError as error:
        sys.exit(f"e2emern: {error}")


if __name__ == "__main__":
    main()

"""Keep passwords and access keys of addresses out of files, logs and messages: refuse or remove them.

Names and passwords are read from `~/.netrc` (or the file that NETRC names) when a request is sent, and stored nowhere.
"""

from __future__ import annotations

import re

from e2emern.tasks.errors import InputError

_LOGIN = re.compile(r"^(\w[\w+.-]*:/+).*@", re.DOTALL)
_QUERY = re.compile(r"(?<=://)([^?#]*)[?#].*", re.DOTALL)


def check_address(source: str) -> None:
    """Raise InputError if a source is an address with a user name or password; `@` in its path is `%40`."""
    if _LOGIN.match(source):
        raise InputError(
            "an address with a user name or password is refused, since it would be kept in logs; write them into "
            "~/.netrc: machine HOST login NAME password PASSWORD",
            path=without_secrets(source),
        )


def without_secrets(address: str) -> str:
    """Return an address without user name, password, query and fragment; a folder stays as it is."""
    return _QUERY.sub(r"\1", _LOGIN.sub(r"\1", address))

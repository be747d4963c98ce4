"""How many files a process may have open."""

from __future__ import annotations

import resource

_MANY = 65_536  # enough; the hard limit may be unlimited


def allow_many_files() -> None:
    """Raise the limit of open files of this process as far as allowed: a view may read thousands of files."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if most == resource.RLIM_INFINITY else min(most, _MANY)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))

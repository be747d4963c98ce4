"""Which failures of a task Prefect retries: those that may pass by themselves."""

from __future__ import annotations

import errno

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

_TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENETUNREACH, errno.EHOSTUNREACH})


def is_transient(task: Task[..., object], run: TaskRun, state: State[object]) -> bool:
    """Return whether a failure may pass by itself, such as shared storage that is briefly unavailable."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno in _TRANSIENT

"""Log errors of the project and the system as their own message, without Prefect's traceback.

Any other error is a bug of ours, and keeps its traceback.
"""

from __future__ import annotations

import logging

from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


def without_traceback(record: logging.LogRecord) -> bool:
    """Replace an expected error in a log record by its message. Return True: the record is logged."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (InputError, WarehouseError, OSError)):
        notes: list[str] = getattr(error, "__notes__", [])
        record.msg, record.args = "\n".join([str(error), *notes]), ()
        record.exc_info = record.exc_text = None
    return True


def log_errors_as_lines() -> None:
    """Add `without_traceback` to the loggers of flow runs and task runs; calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(without_traceback)

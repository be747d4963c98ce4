"""Templates of HTML pages: every value is escaped, and control characters are made visible."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from e2emern.flows import charts
from e2emern.flows.values import text_of
from e2emern.flows.visible import visible
from e2emern.warehouse.wording import cut, plural

_SHARED = Path(__file__).parent / "templates"


def environment(templates: Path) -> Environment:
    """Return the environment of the templates in a folder, with the macros, filters and charts that all pages share."""
    made = Environment(
        loader=FileSystemLoader([templates, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "number": _number,
        "share": _share,
        "moment": _moment,
        "value": text_of,
        "plural": plural,
        "cut": cut,
    }
    made.filters.update(filters)
    made.globals.update(bars=charts.bars, line=charts.line, interval=charts.interval, curves=charts.curves)
    return made


def _finalize(value: Any) -> Any:
    """Return a value as a template prints it: nothing for None, and no control characters."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else visible(str(value))


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _moment(value: datetime.datetime | str | None) -> str:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    return f"{value:%Y-%m-%d %H:%M}" if value else "–"

"""Reports: each is one HTML file that loads nothing else and has no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from e2emern.flows import pages

_FOLDER = Path(__file__).parent
_STYLE = _FOLDER.parent / "explorer" / "static" / "explorer.css"


def render(template: str, **values: Any) -> str:
    """Return a report; it looks like the explorer, in light and dark."""
    made = pages.environment(_FOLDER / "templates")
    style = Markup(_STYLE.read_text(encoding="utf-8"))  # ours, so it is not escaped
    return made.get_template(template).render(style=style, **values)

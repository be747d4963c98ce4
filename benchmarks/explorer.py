"""The CPU seconds of the server for each page of the explorer, on a home of a million generated mentions.

The home is that of `benchmarks.warehouse`. Each page is requested once with empty caches, but with the snapshot open;
`open` is the time for that, needed once after each publish. The concepts are the most frequent ones, the worst case. A
user's query runs in a separate process and may take long; `query` is its time, most of which is the start of the
process, and has no target.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from starlette.testclient import TestClient

from benchmarks.measuring import Result, Setting
from benchmarks.warehouse import VERSIONS, make_home
from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.app import make_app
from e2emern.flows.explorer.security import TOKEN, Secrets
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.publish import publish

ROOT = Path(__file__).resolve().parent.parent
MENTIONS = 1_000_000
TARGET = 0.3  # seconds
PAGES = {
    "search": "/",
    "results": "/?q=word0000{n}",
    "suggestions": "/search.json?q=concept+{n}",
    "concept": "/concept/D00000{n}",
    "concept alone": "/concept/D00000{n}?below=0",
    "same documents": "/together/D00000{n}?below=0",
    "newest documents": "/newest/D00000{n}",
    "document": "/document/100077{n}",
    "history": "/history/100077{n}",
    "corpus": "/corpus",
    "models": "/models",
    "sql": "/sql",
    "query": "/sql?q=SELECT+mesh_id,+count(*)+FROM+mentions+WHERE+sentence+<+{n}+GROUP+BY+ALL+ORDER+BY+2+DESC+LIMIT+20",
    "try": "/try",
    "correct": "/correct/100077{n}",
}


def explorer_pages(setting: Setting) -> Result:
    """Return the CPU seconds of each page, and the slowest."""
    folder = setting.folder / "explorer"
    command = [sys.executable, "-m", "benchmarks.explorer", str(folder), str(min(setting.mentions, MENTIONS))]
    done = subprocess.run([*command, str(setting.rounds)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(folder: Path, *, mentions: int, rounds: int) -> Result:
    """Make the home, and request each page. Raises ValueError for a page that fails."""
    home, secrets = Home(folder), Secrets()
    make_home(home, mentions=mentions)
    shown = publish(home, VERSIONS)
    app = make_app(home, secrets=secrets, port=80, annotator=Annotator(home), corrections=folder / "corrections")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        opening = _cpu_seconds(lambda: client.get("/", params={TOKEN: secrets.token}))
        opening += _cpu_seconds(lambda: client.get("/search.json?q=c"))  # reads the names
        seconds: dict[str, list[float]] = {name: [] for name in PAGES}
        for number in range(2, 2 + rounds):
            for name, path in PAGES.items():
                app.state.site.snapshots.forget()
                seconds[name].append(_cpu_seconds(partial(_ask, client, path.format(n=number))))
    slowest = max(seconds.keys() - {"query"}, key=lambda name: median(seconds[name]))
    return {
        "cpu_seconds": round(median(seconds[slowest]), 3),
        "min": round(min(seconds[slowest]), 3),
        "max": round(max(seconds[slowest]), 3),
        "target": f"< {TARGET}",
        "slowest": slowest,
        "mentions": shown.mentions,
        "open": round(opening, 3),
        "pages": {name: round(median(each), 3) for name, each in seconds.items()},
    }


def _ask(client: TestClient, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != 200 or 'class="problem"' in answer.text:
        raise ValueError(f"{path}: {answer.status_code} {answer.text[:500]}")


def _cpu_seconds(ask: Callable[[], object]) -> float:
    """Return the CPU seconds of this process and of children that have ended."""
    begun = _used()
    ask()
    return _used() - begun


def _used() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), mentions=int(sys.argv[2]), rounds=int(sys.argv[3]))))

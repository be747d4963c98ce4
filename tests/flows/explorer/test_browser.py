"""The explorer in a real browser: Chromium, driven by Playwright.

Only our server gets requests, the console stays empty, and axe-core finds nothing serious on any page, at 1,200
pixels in light and at 400 in dark. Screenshots are kept in `build/explorer`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from e2emern.warehouse.layout import Home
from tests.browser import chromium, needs_chromium
from tests.conftest import ROOT
from tests.flows.explorer.conftest import fill
from tests.pages import arguments, typed

if TYPE_CHECKING:
    from tests.flows.world import World

SHOTS = ROOT / "build" / "explorer"
PAGES = ("/", "/?q=aspirin", "/concept/D001943", "/document/11", "/history/11", "/corpus", "/models",
         "/sql?q=SELECT+mesh_name,+count(*)+AS+mentions+FROM+mentions+GROUP+BY+ALL", "/sql?named=words", "/try",
         "/correct/11", "/document/none")  # fmt: skip
SLOW_MS = 120_000  # loading the model on a busy machine

pytestmark = needs_chromium


@dataclass
class Explorer:
    """A running `e2emern explore`."""

    address: str  # with its token
    folder: Path  # of corrections
    metrics_token: Path

    @property
    def root(self) -> str:
        return self.address.partition("/?")[0]


@dataclass
class Seen:
    """The requests and console messages of a page."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("requestfailed", self._failed)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the icon of a page that was left
            self.problems.append(f"{request.failure}: {request.url}")


@pytest.fixture(scope="module")
def explorer(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    folder = tmp_path_factory.mktemp("browser")
    home = Home(folder / "home")
    fill(home, models=folder)
    subprocess.run(
        ["bash", "-euc", typed("operations", "openssl rand -hex 32 > metrics-token")], cwd=folder, check=True
    )
    words = arguments("operations", "e2emern explore --home home --metrics-token metrics-token")
    command = [sys.executable, "-m", "e2emern.flows.cli", *words, "--port", "0"]
    command += ["--no-browser", "--corrections", str(folder / "corrections"), "--device", "cpu"]
    command += ["--model", str(world.model), "--mesh", str(world.mesh)]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", server.stderr.readline())
        assert found is not None
        yield Explorer(found[0], folder / "corrections", folder / "metrics-token")
        server.send_signal(signal.SIGINT)
        lines = server.stderr.read().splitlines()
        assert lines == [
            f"e2emern: corrections are written into {folder / 'corrections'}",
            "e2emern: press Ctrl-C to stop",
        ]
        assert server.wait() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser: Browser, explorer: Explorer, *, width: int = 1200, scheme: str = "light") -> Iterator[Seen]:
    """A new window on the start page, which must end without problems or requests to others."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    seen = Seen(context.new_page())
    seen.page.goto(explorer.address)
    seen.page.wait_for_url(f"{explorer.root}/")
    yield seen
    context.close()
    assert {url for url in seen.requests if not url.startswith(explorer.root + "/")} == set()
    assert [one for one in seen.problems if "404 (Not Found)" not in one] == []


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def test_prometheus_reads_the_metrics_with_the_token_in_the_file(explorer: Explorer) -> None:
    for token, status in ((explorer.metrics_token.read_text().strip(), 200), ("another", 403)):
        answer = httpx.get(f"{explorer.root}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert answer.status_code == status


def test_from_search_to_a_document(browser: Browser, explorer: Explorer) -> None:
    with opened(browser, explorer) as seen:
        page = seen.page
        page.wait_for_url(f"{explorer.root}/")  # the token has left the address
        page.keyboard.press("/")
        page.keyboard.type("breast neo")
        expect(page.get_by_role("option")).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Breast Neoplasms")
        expect(page.locator("#together + div")).to_contain_text("Aspirin")  # loaded by itself
        page.get_by_role("link", name="Breast cancer after aspirin").click()
        page.locator("a.m", has_text="aspirin").hover()
        card = page.get_by_role("tooltip")
        expect(card).to_contain_text("Aspirin")
        expect(card).to_contain_text("0.750")
        shoot(page, "document-with-card")
        page.keyboard.press("Escape")
        expect(card).to_be_hidden()
        page.get_by_role("link", name="Breast cancer", exact=True).focus()  # with the keyboard too
        expect(card).to_contain_text("Breast Neoplasms")
        page.get_by_role("button", name="Show the candidates of each").click()
        expect(page.locator("#candidates")).to_contain_text("Candidates are in each mention", timeout=SLOW_MS)
        expect(page.locator("#mention-2 .others")).to_contain_text("Candidates of model")  # the tiny one
        page.get_by_text("Show the SQL").first.click()
        page.get_by_role("link", name="Open in SQL").first.click()
        expect(page.locator("#answer")).to_contain_text("row")
        page.locator("textarea").fill("SELECT 40 + 2 AS found")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("cell", name="42")).to_be_visible()


def test_pasting_a_text(browser: Browser, explorer: Explorer) -> None:
    with opened(browser, explorer) as seen:
        page = seen.page
        page.get_by_role("link", name="Try it").click()
        page.get_by_label("Text").fill("Aspirin caused renal failure and headache. <b>bold</b>")
        page.get_by_role("button", name="Annotate").click(timeout=SLOW_MS)
        page.wait_for_selector("article.text", timeout=SLOW_MS)
        assert page.locator("a.m").all_inner_texts() == ["Aspirin", "renal failure", "headache"]
        expect(page.locator("article.text")).to_contain_text("<b>bold</b>")
        shoot(page, "try")


def test_writing_a_correction(browser: Browser, explorer: Explorer) -> None:
    with opened(browser, explorer) as seen:
        page = seen.page
        page.goto(f"{explorer.root}/document/11")
        page.get_by_role("link", name="This is wrong").click()
        page.get_by_label("Mention 4 is not a mention").check()
        page.get_by_label("Concepts of mention 3").fill("Neoplasms")
        page.get_by_role("button", name="Write the correction").click()
        expect(page.get_by_role("status").first).to_contain_text("explorer.11.pubtator")
    assert explorer.folder.joinpath("explorer.11.pubtator").read_text().splitlines()[2:] == [
        "11\t0\t13\tBreast cancer\tDisease\tMESH:D001943",
        "11\t20\t27\taspirin\tChemical\tMESH:D001241",
        "11\t28\t50\tFamilial breast cancer\tDisease\tMESH:D009369",
        "",
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_every_page_is_accessible(browser: Browser, explorer: Explorer, width: int, scheme: str) -> None:
    with opened(browser, explorer, width=width, scheme=scheme) as seen:
        for path in PAGES:
            seen.page.goto(explorer.root + path)
            seen.page.wait_for_load_state("networkidle")
            found = [
                f"{path} {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0].get('failureSummary', '')[:300]}"
                for one in Axe().run(seen.page).response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert found == []
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not seen.page.evaluate(wide), f"{path} is wider than {width} pixels"
            name = re.sub(r"\W+", "-", path)[:24].strip("-") or "search"
            shoot(seen.page, f"{name}-{width}-{scheme}")


def test_the_theme_is_kept(browser: Browser, explorer: Explorer) -> None:
    with opened(browser, explorer) as seen:
        seen.page.get_by_role("button", name="Switch between light and dark").click()
        seen.page.goto(f"{explorer.root}/corpus")
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"

"""Reports are one HTML file each: hostile text is never markup, and nothing is loaded."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from typer.testing import CliRunner

from e2emern.flows.charts import Curve, Place, curves
from e2emern.flows.cli import app
from e2emern.flows.report.evaluation import evaluation_report
from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Mention
from e2emern.model.evaluation.baselines import Bounds
from e2emern.model.evaluation.comparison import compare
from e2emern.model.evaluation.cutoffs import by_score
from e2emern.model.evaluation.metrics import Evaluation
from e2emern.model.evaluation.scores import count
from e2emern.model.pretrained import save_model
from e2emern.tasks.evaluation.evaluate import Evaluated
from e2emern.warehouse.layout import Home
from tests.model import tiny
from tests.warehouse import homes

HOSTILE = "<script>alert(1)</script> \u202egnp \x1b[31m"


class _Page(HTMLParser):
    """Collects the elements, the attributes that load something, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href", "srcset", "data") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def checked(page: str) -> _Page:
    """Check that a page has no script, loads nothing and has no control characters."""
    found = _Page(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert found.loads == []
    assert not re.search(r"@import|url\(|https?:", page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)
    return found


def test_the_report_of_a_home(tmp_path: Path) -> None:
    home, source = Home(tmp_path / "home <b>"), homes.key(f"{HOSTILE[:10]}.xml")
    homes.add_vocabulary(home)
    mentions = [homes.mention(0, "11", start=at) | {"link_score": score} for at, score in ((0, 1.0), (2, 0.07))]
    homes.add_source(
        home, source, [homes.document(0, "11")], mentions=[*mentions, homes.mention(0, "11", None, start=4)],
        failures=[(1, HOSTILE)],
    )  # fmt: skip
    homes.add_run(home, source)
    homes.publish_it(home)
    for name in ("report.html", "new/again.html"):
        given = ["report", "--home", str(home.root), "--output", str(tmp_path / name), "--nights", "3"]
        ended = CliRunner().invoke(app, given)
        assert (ended.exception, ended.stderr) == (None, f"e2emern: wrote {tmp_path / name}\n")
    page = (tmp_path / "report.html").read_text()
    words = " ".join(checked(page).words)
    assert "Needs 7 earlier nights; found 0." in words
    assert "Breast Neoplasms D001943 Disease 2" in words
    assert "<script>alert(N)</script> \ufffdgnp \ufffd[Nm" in words
    titles = re.findall(r"<title>(0(?:\.\d+)?: \d+)</title>", page)
    assert [title for title in titles if not title.endswith(": 0")] == ["0.05: 1", "0.95: 1"]
    assert "33.3%" in words


def test_the_report_of_an_evaluation(tmp_path: Path) -> None:
    gold = [
        GoldDocument("c<b>", "dev", str(at), ("Disease",), "x" * 9, (), (), (GoldMention(0, 5, "Disease", ("D1",)),))
        for at in range(4)
    ]
    found = [[Mention(0, 5, "xxxxx", "Disease", 0, 0.9, mesh_id=f"D{at}", link_score=at / 4)] for at in range(4)]
    counts = count(gold, found, canonical=str)
    model = Evaluation(HOSTILE, "v", counts, by_score(gold, found, canonical=str))
    save_model(tiny.network(), tiny.tokenizer(), tmp_path)
    (tmp_path / "dev.jsonl").write_text('{"epoch": 0, "f1": 0.5}\n{"epoch": 1, "f1": 0.75}\n')
    page = evaluation_report(
        Evaluated((model, model), Bounds({}, {}, {}, {}), compare(counts, counts)), [tmp_path, tmp_path]
    )
    words = " ".join(checked(page).words)
    assert "1: 0.75" in words  # of the learning curve
    assert len(re.findall(r'<p class="heat">.*?</p>', page)) == 4
    heated = re.search(r"Seizures:</span> (.*?)</p>", page)
    assert heated is not None
    shares = [int(share) for share in re.findall(r"<sub>(\d+)</sub>", heated[1])]
    assert (len(shares), 50 < sum(shares) <= 101) == (15, True)  # the rest is that of the special pieces
    assert heated[1].count("heat-9") >= 1
    assert "the counts of 2 models are summed" in words
    assert "Disease mention 8 25.0% 25.0% 25.0%" in words
    assert "Disease: mean score 0.250, 2 of 2 links are right" in words
    assert "Disease: minimum score 0.2: precision 33.3%, recall 25.0%" in words
    assert words.count("Against the other model") == 1


def test_curves_have_intervals_a_legend_and_a_description() -> None:
    drawn = curves([Curve("<a>", [Place(0.5, 1.0, "x", 0.25, 1.0)])], across="score", up="right", about="<about>")
    assert '<circle class="dot curve-0" cx="206.0" cy="20.0" r="3"><title>&lt;a&gt;: x</title></circle>' in drawn
    assert '<line class="error curve-0" x1="206.0" y1="245.0" x2="206.0" y2="20.0"/>' in drawn
    assert 'aria-label="&lt;about&gt;"' in drawn

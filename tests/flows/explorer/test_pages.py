"""Each page shows the content of the tables."""

from __future__ import annotations

import html
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from starlette.testclient import TestClient

from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.app import make_app
from e2emern.flows.explorer.models import interval_of
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.training.corrections import read_corrections
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.explorer.session import Snapshots
from e2emern.warehouse.snapshots.publish import publish
from tests.flows.explorer.conftest import ADDRESS, SECRETS, TWO, fill, named, paper
from tests.warehouse.homes import VERSIONS, add_source


def words(text: str) -> str:
    """The text of a page without its tags, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_suggestions(client: TestClient) -> None:
    assert client.get("/search.json", params={"q": "breast n"}).json() == [
        {
            "label": "Breast Neoplasms",
            "detail": "D001943 · Disease · 3 mentions",
            "also": "",
            "address": "/concept/D001943",
        }
    ]
    assert client.get("/search.json", params={"q": " MESH:D001241 "}).json()[0]["label"] == "Aspirin"
    for text in ("11", "PMID: 11", "pmid11"):
        assert client.get("/search.json", params={"q": text}).json()[0]["address"] == "/document/11"
    assert client.get("/search.json", params={"q": "114480"}).json()[0]["address"] == "/concept/OMIM%3A114480"
    assert client.get("/search.json", params={"q": "  "}).json() == []
    assert client.get("/search.json?q=%ED%A0%80%FF%00").json() == []


def test_search(client: TestClient) -> None:
    assert "Explore 3 documents 7 mentions of 3 concepts." in words(client.get("/").text)
    found = words(client.get("/", params={"q": "Aspirin"}).text)
    assert "Aspirin Chemical D001241 2 mentions" in found
    assert "Breast cancer after aspirin Journal of <b>Tests</b> · 2020-05 · 11" in found
    assert "aspirin Chemical Aspirin D001241 2" in found


def test_a_concept_with_and_without_those_below_it(client: TestClient) -> None:
    page = words(client.get("/concept/D009369").text)
    assert (
        "mentions 4 documents 2" in page.replace("mentions 4 documents 2", "mentions 4 documents 2")
        or "4 mentions" in page
    )
    for below, mentions, documents in ((1, 4, 2), (0, 3, 2)):
        text = client.get(f"/concept/D001943?below={below}").text
        facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text))
        assert (facts["mentions"], facts["documents"]) == (str(mentions), str(documents))
    text = words(client.get("/concept/D001943").text)
    assert "Neoplasms C04 Neoplasms by Site C04.588 Breast Neoplasms C04.588.180" in text
    assert "breast cancer 2 1 0.75" in text
    assert "2020: 3 2020 2021: 0 2021 2022: 1 2022" in text  # the bars, and the years below them
    assert client.get("/concept/aspirin").headers["location"] == "/concept/D001241"
    assert client.get("/concept/nothing").status_code == 404


def test_co_occurring_concepts_and_newest_documents(client: TestClient) -> None:
    together = words(client.get("/together/D001943?below=1").text)
    assert "Aspirin Chemical 1 0.75" in together  # 1 document * 3 / (2 * 2)
    newest = client.get("/newest/D001943?below=0").text
    assert words(newest).index("gnp.exe") < words(newest).index("Breast cancer after aspirin")
    assert "<mark>Breast cancer</mark>" in newest


def test_every_figure_has_sql_that_runs_anywhere(client: TestClient, home: Home) -> None:
    """The SQL on the pages is complete: it has `mine`, and literals instead of parameters."""
    shown = set()
    for path in ("/", "/?q=aspirin", "/concept/D001943", "/together/D001943?below=0", "/newest/D001943", "/document/11",
                 "/corpus", "/models"):  # fmt: skip
        shown |= set(re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", client.get(path).text, re.DOTALL))
    assert len(shown) == 18
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        for sql in shown:
            connection.execute(html.unescape(sql)).fetchall()


def test_a_document(client: TestClient) -> None:
    text = client.get("/document/11").text
    marked = re.findall(r'<a class="m ([^"]+)" href="#mention-(\d+)"[^>]*>([^<]+)</a>', text)
    assert marked == [
        ("disease", "1", "Breast cancer"),
        ("chemical", "2", "aspirin"),
        ("disease", "3", "Familial "),
        ("disease nested", "4", "breast cancer"),
    ]
    assert "Breast Neoplasms D001943 · the words are a name of the concept" in words(text)
    assert re.findall(r'<meter min="0" max="1" value="([\d.]+)" aria-label="(\w+)">', text)[:4] == [
        ("0.750", "link"), ("0.900", "low"), ("0.800", "mid"), ("0.700", "high"),
    ]  # fmt: skip
    assert "shown : pubmed26n0001.xml 1111111111111111 record 0" in words(text)
    assert 'class="m disease unlinked"' in client.get("/document/12").text
    assert "This is wrong" not in text  # without --corrections
    assert client.get("/document/a%2F..%2Fb").status_code == 200
    assert client.get("/document/99").status_code == 404


def test_the_history_of_a_document(client: TestClient) -> None:
    assert "shown : version 1, published 2020-05 pubmed26n0001.xml" in words(client.get("/history/11").text)
    assert client.get("/history/99").status_code == 404


def test_the_corpus(client: TestClient) -> None:
    text = words(client.get("/corpus").text)
    assert "PMID ... is not a number 1 1 pubmed26n0001.xml line 3" in text
    assert "Disease 5 20.0%" in text
    assert "Needs 7 earlier nights; found 0." in text
    assert " 3 3 7 14.3%" in text


def test_the_models(client: TestClient) -> None:
    text = client.get("/models").text
    shown = words(text)
    assert "aaa champion Added" in shown
    assert "small-1 shown Not kept in the home." in shown
    assert "Did not pass the gate: 70.0 -> 65.0" in shown
    assert "<title>1: 0.75</title>" in text  # the learning curve
    assert "ncbi/dev all Disease 90.0 83.1–92.9 88.9 83.1–92.9" in shown
    assert "ncbi/dev unseen Disease – 70.0 83.1–92.9" in shown
    assert "document F1 0.7000 0.6500 -0.0800 to -0.0200 -0.0100 failed 70.0 -> 65.0" in shown
    assert "throughput 10.0000 9.0000 8.0000 passed" in shown
    assert "ncbi/dev all Disease 60.0" in words(client.get("/models?protocol=document&figure=nonsense").text)


@pytest.mark.parametrize(
    ("figure", "tp", "fp", "fn", "expected"),
    [
        ("precision", 80, 20, 5, (0.7112, 0.8666)),  # Wilson, 80 of 100
        ("recall", 80, 5, 20, (0.7112, 0.8666)),
        ("f1", 80, 10, 10, (0.8312, 0.9286)),  # of 80 of 100, by 2p / (1 + p)
        ("accuracy@1", 0, None, 10, (0.0, 0.2775)),
        ("f1", 0, 0, 0, None),
    ],
)
def test_intervals_of_scores(
    figure: str, tp: int, fp: int | None, fn: int, expected: tuple[float, float] | None
) -> None:
    found = interval_of({"figure": figure, "tp": tp, "fp": fp, "fn": fn})
    assert (found and tuple(round(each, 4) for each in found)) == expected


def test_sql_as_table_chart_and_csv(client: TestClient) -> None:
    sql = (
        "SELECT mesh_name, count(*) AS n FROM mentions WHERE mesh_id IN ('D001241', 'C562840') GROUP BY ALL ORDER BY n"
    )
    text = client.get("/sql", params={"q": sql}).text
    assert "mesh_name n Breast Cancer, Familial 1 Aspirin 2" in words(text)
    assert 'text-anchor="end">Aspirin<title>Aspirin</title>' in text
    answer = client.get("/sql.csv", params={"q": sql})
    assert answer.text == 'mesh_name,n\n"Breast Cancer, Familial",1\nAspirin,2\n'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    named = client.get("/sql", params={"named": "words", "p.concept": "Aspirin"})
    assert "aspirin 2 2 2 0.75" in words(named.text)
    asks = client.get("/sql", params={"named": "words"}).text
    assert ('name="p.concept"' in asks, 'id="answer"' in asks) == (True, False)
    assert "expected integer" in client.get("/sql", params={"named": "top-concepts", "p.year": "x"}).text
    free = client.get("/sql", params={"q": "SELECT $a || '!' AS a", "p.a": "b"}).text
    assert "b!" in words(free)


def test_the_snapshot_of_a_page_stays_whole_while_a_night_publishes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    fill(home)
    snapshots = Snapshots(home)
    with snapshots.session() as before:
        assert before.figure("corpus-totals").rows[0]["number"] == 1
        add_source(home, TWO, [paper(0, "13", "Aspirin again")], mentions=[
            named(0, "13", "Aspirin again", "Aspirin", "D001241", "Aspirin")
        ])  # fmt: skip
        publish(home, VERSIONS)
        given = {"concept": "D001241", "below": True}
        with snapshots.session() as after:
            assert after.figure("concept-totals", given).rows[0]["documents"] == 3
            assert before.figure("concept-totals", given).rows[0]["documents"] == 2
            assert (before.snapshot.number, after.snapshot.number) == (1, 2)
        assert before.figure("document", {"document": "13"}).first is None
    snapshots.close()


def test_many_readers_at_once(home: Home) -> None:
    snapshots = Snapshots(home)

    def read(number: int) -> tuple[object, ...]:
        concept = ("D001943", "D001241")[number % 2]
        with snapshots.session() as session:
            totals = session.figure("concept-totals", {"concept": concept, "below": number % 3 > 0}).rows[0]
            return concept, session.concepts("aspirin", most=1)[0]["mesh_id"], totals["documents"]

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(read, range(48))) == {("D001943", "D001241", 2), ("D001241", "D001241", 2)}
    snapshots.close()


def test_a_home_that_was_moved(home: Home, tmp_path: Path) -> None:
    """Each cursor needs the folder of the home."""
    moved = Home(tmp_path / "moved")
    shutil.copytree(home.root, moved.root, symlinks=True)
    with TestClient(
        make_app(moved, secrets=SECRETS, port=8642, annotator=Annotator(moved)), base_url=ADDRESS
    ) as client:
        client.get("/", params={"token": SECRETS.token})
        assert client.get("/concept/D001943").status_code == 200
        moved.warehouse.unlink()
        answer = client.get("/corpus")
        assert (answer.status_code, "has no snapshot yet" in answer.text) == (503, True)


def test_an_internal_error_is_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    app = make_app(home, secrets=SECRETS, port=8642, annotator=Annotator(home), say=said.append)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        client.get("/", params={"token": SECRETS.token})
        monkeypatch.setattr(app.state.site.snapshots, "session", None)
        answer = client.get("/corpus")
        assert (answer.status_code, "unexpected TypeError" in answer.text) == (500, True)
        assert answer.headers["x-frame-options"] == "DENY"
    assert said == ["/corpus: unexpected TypeError: 'NoneType' object is not callable; please report it"]


def test_a_correction_is_written_as_pubtator(corrections: tuple[TestClient, Path], home: Home) -> None:
    client, folder = corrections
    assert "This is wrong" in client.get("/document/11").text
    assert client.get("/correct/11").status_code == 200
    form = {
        "form": SECRETS.form,
        "text": ["Breast cancer", "aspirin", "Familial breast cancer", "breast cancer", "rare", ""],
        "start": ["0", "20", "28", "37", "", ""],
        "type": ["Disease", "Chemical", "Disease", "Disease", "Disease", "Disease"],
        "ids": ["D001943", "MESH:D001241", "C562840|D009369", "D001943", "-", ""],
        "remove": ["3"],
    }
    answer = client.post("/correct/11", data=form, headers={"origin": ADDRESS})
    assert (answer.status_code, answer.headers["location"]) == (303, "/document/11?corrected=explorer.11.pubtator")
    assert (folder / "explorer.11.pubtator").read_text() == (
        "11|t|Breast cancer after aspirin\n11|a|Familial breast cancer was rare.\n"
        "11\t0\t13\tBreast cancer\tDisease\tMESH:D001943\n"
        "11\t20\t27\taspirin\tChemical\tMESH:D001241\n"
        "11\t28\t50\tFamilial breast cancer\tDisease\tMESH:C562840|MESH:D009369\n"
        "11\t55\t59\trare\tDisease\t-\n\n"
    )
    assert "The correction is in" in client.get(answer.headers["location"]).text
    read = read_corrections(folder, vocabulary=Vocabulary.read(home.entities("2024")))  # as retraining does
    assert (read.refused, read.files) == ((), {"explorer.11.pubtator": 1})
    assert [mention.concepts for mention in read.documents[0].mentions] == [
        ("MESH:D001943",), ("MESH:D001241",), ("MESH:C562840", "MESH:D009369"), (),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (("cancer", "", "Disease", "-"), "give the start"),
        (("leukemia", "", "Disease", "-"), "does not have the words"),
        (("aspirin", "3", "Chemical", "-"), "at 3 the text has"),
        (("aspirin", "", "Gene", "-"), "expected Disease or Chemical"),
        (("aspirin", "", "Chemical", "D999999"), "no concept"),
        (("", "", "Disease", ""), "no mention is left"),
    ],
)
def test_a_wrong_correction_is_refused(
    corrections: tuple[TestClient, Path], line: tuple[str, str, str, str], reason: str
) -> None:
    client, folder = corrections
    form = dict(zip(("text", "start", "type", "ids"), line, strict=True)) | {"form": SECRETS.form}
    answer = client.post("/correct/11", data=form, headers={"origin": ADDRESS})
    assert (answer.status_code, reason in html.unescape(answer.text)) == (422, True)
    assert not folder.exists()
    assert client.post("/correct/nope", data=form, headers={"origin": ADDRESS}).status_code == 404


def test_corrections_are_off_by_default(client: TestClient) -> None:
    answer = client.post("/correct/11", data={"form": SECRETS.form}, headers={"origin": ADDRESS})
    assert (answer.status_code, "--corrections" in answer.text) == (403, True)

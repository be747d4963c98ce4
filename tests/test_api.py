"""`import e2emern`: annotate texts and DataFrames, and read a home, with the bundled model, which is loaded once."""

from __future__ import annotations

import doctest
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.io.formats.style import Styler

import e2emern
from e2emern import defaults
from e2emern.doc import Doc, Mention, Scores
from e2emern.flows.annotate import Outcome, run_sources
from e2emern.model.document import Text
from e2emern.tasks.annotate import annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.models import keep_vocabulary
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.layout import Home, Versions
from tests import notebook
from tests.conftest import ROOT
from tests.flows.world import pubmed

ARTICLES = [(101, "Aspirin relieves headache.", ""), (102, "Metformin lowers the risk of gout.", "")]
NAMES = ["breast cancer", "Aspirin", "breast and ovarian cancer", "naïve 5-FU", "β-carotene", "A-T", " ", "\n\n"]


@pytest.fixture(scope="module")
def nlp() -> e2emern.Pipeline:
    return e2emern.load(device="cpu")


@pytest.fixture(scope="module")
def annotate_into(nlp: e2emern.Pipeline) -> Callable[[Path, Path], None]:
    """Annotate a file into a home with the loaded model, and publish."""

    def annotate(home: Path, file: Path) -> None:
        place = Home(home)
        keep_vocabulary(place, defaults.MESH, mesh_version=nlp.mesh_version)

        def work(todo: list[Source], outcome: Outcome) -> None:
            annotator = InProcess(nlp.cascade)
            outcome.annotated += [annotate_source(source, annotator=annotator, home=place) for source in todo]

        versions = Versions(nlp.model_version, nlp.mesh_version)
        run_sources(find_sources([file]), place, versions=versions, options={}, work=work)

    return annotate


@pytest.fixture(scope="module")
def folder(annotate_into: Callable[[Path, Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of two documents."""
    made = tmp_path_factory.mktemp("api")
    (made / "first.xml").write_text(pubmed(ARTICLES))
    annotate_into(made / "home", made / "first.xml")
    return made / "home"


@pytest.fixture(scope="module")
def home(folder: Path) -> e2emern.Home:
    return e2emern.open_home(folder)


def of(doc: Doc) -> list[tuple[str, str, str | None]]:
    return [(mention.text, mention.type, mention.mesh_id) for mention in doc.mentions]


@pytest.mark.parametrize("module", ["pipeline", "home"])
def test_examples_in_docstrings(module: str, nlp: e2emern.Pipeline, home: e2emern.Home) -> None:
    names = {"nlp": nlp, "home": home, "e2emern": e2emern}
    done = doctest.testmod(
        import_module(f"e2emern.{module}"), extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert done.attempted
    assert not done.failed


def test_examples_in_the_documentation(nlp: e2emern.Pipeline, home: e2emern.Home) -> None:
    page, names = ROOT / "docs" / "python.md", {"nlp": nlp, "home": home, "e2emern": e2emern}
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    done = doctest.testfile(str(page), module_relative=False, globs=names, optionflags=flags)
    assert done.attempted
    assert not done.failed


def test_an_import_loads_nothing_slow() -> None:
    slow = "{'torch', 'transformers', 'pandas', 'pyarrow', 'duckdb', 'numpy', 'prefect'}"
    code = f"import sys, e2emern; assert set(e2emern.__all__) <= set(dir(e2emern)); print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_wrong_path_is_reported_before_the_slow_imports() -> None:
    code = "import sys, e2emern\ntry: e2emern.load(model='no')\nexcept e2emern.Error: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_every_public_name_exists() -> None:
    assert [name for name in e2emern.__all__ if getattr(e2emern, name) is None] == []
    with pytest.raises(AttributeError, match="module 'e2emern' has no attribute 'anotate'"):
        e2emern.anotate  # noqa: B018  # reading it raises


def test_words_of_two_concepts_and_across_lines(nlp: e2emern.Pipeline) -> None:
    doc = nlp("Breast and ovarian\ncancer.\n\n5-FU for breast\tcancer")
    assert of(doc) == [
        ("Breast and ovarian\ncancer", "Disease", "D001943"),
        ("Breast and ovarian\ncancer", "Disease", "D010051"),
        ("5-FU", "Chemical", "D005472"),
        ("breast\tcancer", "Disease", "D001943"),
    ]


def test_candidates_are_ranked_and_the_first_is_the_link(nlp: e2emern.Pipeline) -> None:
    doc = nlp("Breast and ovarian cancer, hepatitis C and gout after metformin.")
    assert len(doc.mentions) == 5
    for mention in doc.mentions:
        best = mention.candidates[0]
        assert (best.mesh_id, best.mesh_name) == (mention.mesh_id, mention.mesh_name)
        scores, expected = best.scores, mention.scores
        for name in ("low", "mid", "high", "link"):
            assert getattr(scores, name) == pytest.approx(getattr(expected, name), rel=1e-5)
        shares = [each.scores.link or 0 for each in mention.candidates]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9
        assert len({each.mesh_id for each in mention.candidates}) == len(mention.candidates) <= 5
    assert nlp("gout").mentions[0].candidates[1].mesh_name != "Gout"
    fewer = e2emern.Pipeline(nlp.cascade, candidates=0)("gout after metformin")
    assert [mention.candidates for mention in fewer.mentions] == [(), ()]


@settings(max_examples=10)
@given(st.lists(st.lists(st.sampled_from(NAMES) | st.text(st.characters(codec=None), max_size=5)).map("".join)))
def test_offsets_fit_any_text(nlp: e2emern.Pipeline, texts: list[str]) -> None:
    docs = list(nlp.pipe(texts, batch_size=3))
    assert [doc.text for doc in docs] == texts
    assert [doc.error for doc in docs] == [None] * len(texts)
    for doc in docs:
        assert [doc.text[each.start : each.end] for each in doc.mentions] == [each.text for each in doc.mentions]
        assert json.loads(json.dumps(doc.to_dict()))["text"] == doc.text
        doc._repr_html_().encode()


def test_pipe_reads_no_more_than_a_batch_ahead(nlp: e2emern.Pipeline) -> None:
    read: list[str] = []

    def texts() -> Iterator[str]:
        while True:
            read.append("Aspirin relieves headache.")
            yield read[-1]

    found = nlp.pipe(texts(), batch_size=4)
    assert of(next(found)) == [("Aspirin", "Chemical", "D001241"), ("headache", "Disease", "D006261")]
    assert len(read) == 4


class Odd:
    """A cascade that cannot read texts with a word."""

    def __init__(self, cascade: Any) -> None:
        self.cascade = cascade

    def annotate_with_evidence(self, texts: Sequence[Text]) -> Any:
        if any("poison" in text.text for text in texts):
            raise ValueError("no such word")
        return self.cascade.annotate_with_evidence(texts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cascade, name)


def test_a_text_that_the_model_cannot_read_does_not_stop_others(nlp: e2emern.Pipeline) -> None:
    odd = e2emern.Pipeline(Odd(nlp.cascade))  # type: ignore[arg-type]
    docs = list(odd.pipe(["gout", "poison", "", "headache"]))
    assert [doc.error for doc in docs] == [None, "model: ValueError: no such word", None, None]
    assert [len(doc.mentions) for doc in docs] == [1, 0, 0, 1]
    assert "<strong>Not annotated:</strong> model: ValueError" in docs[1]._repr_html_()
    with pytest.raises(e2emern.InputError, match=r"^model: ValueError: no such word$"):
        odd("poison")
    frame = pd.DataFrame({"text": ["gout", "poison"]}, index=["a", "b"])
    with pytest.warns(UserWarning, match=r"^1 of 2 texts not annotated; b: model: ValueError: no such word$"):
        found = e2emern.annotate(frame, nlp=odd)
    assert found[["id", "text", "mesh_id"]].to_numpy().tolist() == [["a", "gout", "D006073"]]
    assert found.attrs["errors"] == {"b": "model: ValueError: no such word"}


def test_annotate_a_frame_without_mentions(nlp: e2emern.Pipeline) -> None:
    frame = pd.DataFrame({"text": ["", None, math.nan, pd.NA, "We met."]})
    found = e2emern.annotate(frame, nlp=nlp)
    assert len(found) == 0
    assert [*found] == [*"id start end text type mesh_id mesh_name low mid high link how".split()]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda nlp: nlp(7), "text 0: found int, expected str"),
        (lambda nlp: list(nlp.pipe(["gout", None])), "text 1: found NoneType, expected str"),
        (lambda nlp: list(nlp.pipe("gout")), "texts: found a str, expected several; call the pipeline itself"),
        (lambda nlp: list(nlp.pipe([], batch_size=0)), "batch_size: found 0, expected 1 or more"),
        (lambda nlp: e2emern.annotate(pd.DataFrame({"a": []}), nlp=nlp), "no column 'text'; found a"),
        (lambda nlp: e2emern.annotate(["gout"], nlp=nlp), "frame: found list, expected a pandas DataFrame"),
        (lambda nlp: e2emern.annotate(pd.DataFrame({"text": [["gout"]]}), nlp=nlp), "text 0: found list, expected str"),
        (lambda nlp: e2emern.annotate(pd.DataFrame({"text": [7]}), nlp=nlp), "text 0: found int, expected str"),
        (lambda nlp: e2emern.annotate(pd.DataFrame({"text": []}), id="text", nlp=nlp), "id: found 'text'"),
        (lambda nlp: e2emern.load(model="nowhere"), "nowhere: no such model folder"),
        (lambda nlp: e2emern.load(mesh="nowhere.parquet"), "nowhere.parquet: cannot be read as an entities table"),
        (lambda nlp: e2emern.load(device="tpu"), "unknown device 'tpu': expected one of auto, cpu, cuda"),
        (lambda nlp: e2emern.load(processes=0), "processes: found 0, expected auto, or 1 or more"),
        (lambda nlp: e2emern.load(processes="two"), "processes: found 'two', expected auto, or 1 or more"),
        (lambda nlp: e2emern.load(candidates=-1), "candidates: found -1, expected 0 or more"),
        (lambda nlp: e2emern.load(home="nowhere"), "nowhere does not exist"),
        (lambda nlp: e2emern.open_home("nowhere"), "nowhere does not exist; annotate something into it first"),
    ],
)
def test_wrong_calls_get_one_line(
    call: Callable[[e2emern.Pipeline], object], message: str, nlp: e2emern.Pipeline
) -> None:
    with pytest.raises(e2emern.Error) as caught:
        call(nlp)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def mention(start: int, end: int, text: str, kind: str, mesh_id: str | None = None) -> Mention:
    name = None if mesh_id is None else f"Name of <{mesh_id}>"
    scores = Scores(low=0.9, link=None if mesh_id is None else 0.8)
    words = text[start:end]
    return Mention(
        start=start, end=end, text=words, type=kind, mesh_id=mesh_id, mesh_name=name, scores=scores, how=None
    )


def test_html_is_escaped_and_needs_no_colour() -> None:
    text = "<script>alert(1)</script> & gout\x1b \ud800"
    html = Doc(id="<1>", text=text, mentions=(mention(28, 32, text, "Disease", "D1"),))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; <mark" in html
    assert 'title="Name of &lt;D1&gt; (D1), link 0.80">gout<span' in html
    assert ">Disease D1</span></mark>\ufffd \ufffd</div>" in html
    assert "<strong>&lt;1&gt;</strong>" in html


def test_html_of_crossing_mentions() -> None:
    text = "lead poisoning risk"
    crossing = (mention(0, 14, text, "Disease", "D2"), mention(5, 19, text, "Chemical"))
    html = Doc(text=text, mentions=crossing)._repr_html_()
    pieces = [piece.split(">")[1].split("<")[0] for piece in html.split("<mark")[1:]]
    assert pieces == ["lead ", "poisoning", " risk"]
    assert html.count("Disease D2</span>") == html.count("Chemical unlinked</span>") == 1


def test_sql_gives_every_row(home: e2emern.Home) -> None:
    answer = home.sql("SELECT range AS n FROM range(300000)")
    assert (len(answer), answer.columns, sum(row["n"] for row in answer)) == (300_000, ["n"], 44_999_850_000)
    assert answer.to_arrow().num_rows == len(answer.to_pandas()) == 300_000
    assert repr(answer) == "Answer(300,000 rows of n)"
    with pytest.raises(e2emern.QueryRefusedError, match="expected a SELECT; the tables are read-only"):
        home.sql("DROP VIEW mentions")
    with pytest.raises(e2emern.QueryRefusedError, match="more memory"):
        home.sql("SELECT range FROM range(90000000)", memory_limit="100MB")


def test_mentions_by_concept_document_type_and_score(home: e2emern.Home) -> None:
    def texts(**conditions: Any) -> list[str]:
        return list(home.mentions(**conditions)["text"])

    assert texts() == ["Aspirin", "headache", "Metformin", "gout"]
    assert texts(concept="D006261") == texts(concept="Headache") == ["headache"]
    assert texts(concept="Rheumatic Diseases") == ["gout"]
    assert texts(concept="Rheumatic Diseases", descendants=False) == []
    assert texts(document=102) == texts(document="102") == ["Metformin", "gout"]
    assert texts(type="chemical", document=101) == ["Aspirin"]
    assert texts(min_score=1.0) == []
    assert len(texts(min_score=0.5)) == 4
    with pytest.raises(
        e2emern.QueryRefusedError, match=r"'hedache' is neither an id nor a name.*did you mean 'Headache'"
    ):
        home.mentions(concept="hedache")
    with pytest.raises(e2emern.QueryRefusedError, match="'gene' is not an entity type, expected Chemical or Disease"):
        home.mentions(type="gene")


def test_a_document_of_a_home_is_what_the_model_finds(home: e2emern.Home, nlp: e2emern.Pipeline) -> None:
    doc = home.document(102)
    assert of(doc) == of(nlp(ARTICLES[1][1]))
    assert (doc.id, doc.text, doc.meta["pmid"], doc.meta["source"]) == ("102", ARTICLES[1][1], 102, "first.xml")
    assert [mention.scores.link for mention in doc.mentions] == [
        pytest.approx(mention.scores.link, rel=1e-3) for mention in nlp(doc.text).mentions
    ]
    with pytest.raises(e2emern.WarehouseError, match="has no document 7"):
        home.document(7)


def test_a_concept_counts_what_is_below_it(home: e2emern.Home) -> None:
    concept = home.concept("rheumatic diseases")
    assert (concept.mesh_id, concept.type) == ("D012216", "Disease")
    assert concept.tree_numbers == ("C05.799", "C17.300.775")
    assert (concept.mentions, concept.documents, concept.record_type) == (1, 1, "descriptor")
    with pytest.raises(e2emern.InputError, match="concept: found int, expected str"):
        home.concept(7)  # type: ignore[arg-type]


def test_a_pinned_home_does_not_see_what_is_published_meanwhile(
    folder: Path, annotate_into: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    moving = e2emern.open_home(folder)
    (tmp_path / "second.xml").write_text(pubmed([(103, "Aspirin.", "")]))
    sql = "SELECT count(*) AS n FROM documents"
    before = moving.sql("SELECT number FROM snapshot").to_arrow()["number"][0].as_py()
    with moving.pinned() as pinned:
        annotate_into(folder, tmp_path / "second.xml")
        assert [*pinned.sql(sql)] == [{"n": 2}]
        assert len(pinned.mentions(concept="Aspirin")) == pinned.concept("Aspirin").mentions == 1
        assert repr(pinned) == f"Home({str(folder)!r}, snapshot={before})"
        with pytest.raises(e2emern.WarehouseError, match="has no document 103"):
            pinned.document(103)
    assert [*moving.sql(sql)] == [{"n": 3}]
    assert [*e2emern.open_home(folder, snapshot=before).sql(sql)] == [{"n": 2}]
    with pytest.raises(e2emern.WarehouseError, match="has no snapshot 99"):
        e2emern.open_home(folder, snapshot=99)


def test_a_home_of_another_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"home": "e2emern/9", "format": 9}')
    for opened in (e2emern.open_home, lambda path: e2emern.load(home=path)):
        with pytest.raises(e2emern.WarehouseError, match="has format 9, of newer releases; this one reads 3"):
            opened(tmp_path)


def test_the_notebook_shows_what_its_cells_return(nlp: e2emern.Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e2emern, "load", lambda: nlp)
    pages = notebook.read()
    assert len(pages["cells"]) == 10
    for cell, value in notebook.run(pages, {}):
        kept = [output["data"] for output in cell["outputs"]]
        if isinstance(value, Styler) or "scores" in cell["metadata"].get("tags", ()):  # others at every run, or model
            assert [*kept[0]] == [*notebook.shown(value)]
        else:
            assert kept == ([] if value is None else [notebook.shown(value)]), cell["id"]

"""Mentions as CSV, TSV and Parquet: read back, they equal the rows of the view."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Document, Passage
from e2emern.tasks.errors import InputError
from e2emern.tasks.export import TABLES, Exported, Tabled, export_table, read_annotated, read_tabled
from e2emern.tasks.exporters.table import COLUMNS, SCHEMA, guarded, unguarded
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.sql import query
from tests.warehouse import homes

EMPTY = dict.fromkeys(COLUMNS)


def tabled(*texts: str, **more: Any) -> list[Tabled]:
    """Return one document for each text, which is one mention."""
    return [
        (
            Document(str(at), at, (Passage("title", 0, text),)),
            [
                EMPTY
                | {"document_id": str(at), "sentence": 0, "start": 0, "end": len(text), "text": text, "record": at}
                | {"entity_type": "Disease", "ner_score": 0.5, "model_version": "m", "mesh_version": "v", "source": "s"}
                | more
            ],
        )
        for at, text in enumerate(texts)
    ]


def read(path: Path, form: str) -> pd.DataFrame:
    """Read a table as docs/exports.md advises."""
    if form == "parquet":
        return pd.read_parquet(path)
    quoting = csv.QUOTE_NONE if form == "tsv" else csv.QUOTE_MINIMAL
    texts = {field.name: str for field in SCHEMA if field.type == "string"}
    return pd.read_csv(
        path, sep="\t" if form == "tsv" else ",", quoting=quoting, keep_default_na=False, na_values=[""], dtype=texts
    )


def test_csv_and_tsv_lines(tmp_path: Path) -> None:
    rows = tabled("gout", '=HYPERLINK("a\tb")', "NA", link_score=0.9, mesh_id="D006073", pmid=7)
    for form in ("csv", "tsv"):
        assert export_table(rows, tmp_path / form, form=form) == Exported(documents=3, mentions=3, altered=1)
    header = ",".join(f'"{name}"' for name in COLUMNS)
    assert (tmp_path / "csv").read_text().splitlines() == [
        header,
        '"0",7,0,0,4,"gout","Disease","D006073",,0.5,,,0.9,,"m","v","s",0',
        '"1",7,0,0,17,"\'=HYPERLINK(""a\tb"")","Disease","D006073",,0.5,,,0.9,,"m","v","s",1',
        '"2",7,0,0,2,"NA","Disease","D006073",,0.5,,,0.9,,"m","v","s",2',
    ]
    assert (tmp_path / "tsv").read_text().splitlines() == [
        "\t".join(COLUMNS),
        "0\t7\t0\t0\t4\tgout\tDisease\tD006073\t\t0.5\t\t\t0.9\t\tm\tv\ts\t0",
        '1\t7\t0\t0\t17\t\'=HYPERLINK("a b")\tDisease\tD006073\t\t0.5\t\t\t0.9\t\tm\tv\ts\t1',
        "2\t7\t0\t0\t2\tNA\tDisease\tD006073\t\t0.5\t\t\t0.9\t\tm\tv\ts\t2",
    ]


@pytest.mark.parametrize("form", TABLES)
def test_a_home_comes_back_as_the_view(tmp_path: Path, form: str) -> None:
    home, source = Home(tmp_path / "home"), homes.key("a.xml")
    homes.add_vocabulary(home)
    mentions = [
        homes.mention(0, "11", start=0) | {"link_score": 0.9, "high_score": 0.1, "how": "exact", "mesh_name": "B, c"},
        homes.mention(0, "11", start=2) | {"link_score": 0.8999},
        homes.mention(0, "11", None, start=4),
        homes.mention(1, "PMC9", start=0) | {"link_score": 1.0, "mesh_name": "=1+1"},
    ]
    homes.add_source(home, source, [homes.document(0, "11"), homes.document(1, "PMC9")], mentions=mentions)
    homes.publish_it(home)
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    for least, where, count in ((None, "", 4), (0.9, "WHERE link_score >= 0.9::FLOAT", 2)):
        found = export_table(read_tabled(home, min_score=least), tmp_path / form, form=form)
        assert (found.documents, found.mentions) == (2, count)
        expected = query(home, f"SELECT {columns} FROM mentions {where} ORDER BY record, start").to_pandas()
        back = read(tmp_path / form, form)
        back["mesh_name"] = [unguarded(name) if isinstance(name, str) else name for name in back["mesh_name"]]
        pd.testing.assert_frame_equal(back, expected, check_dtype=False, rtol=1e-6)
        assert sum(len(each) for _, each in read_annotated(home, min_score=least)) == count
    export_table(read_tabled(home), tmp_path / "out.gz", form=form)
    export_table(read_tabled(home), tmp_path / "out", form=form)
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == (tmp_path / "out").read_bytes()
    if form == "parquet":
        assert pq.read_schema(tmp_path / "out").equals(SCHEMA)


_texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\t\n\r\"',=+-@\x85\u2028"), min_size=1, max_size=9
)


@pytest.mark.parametrize("form", TABLES)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(_texts, max_size=4))
def test_any_words_come_back(tmp_path_factory: pytest.TempPathFactory, form: str, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("table") / "out"
    export_table(tabled(*texts), path, form=form)
    back = read(path, form)
    found = [text if form == "parquet" else unguarded(text) for text in back["text"]]
    if form == "tsv":
        assert [(len(one), one) for one in found] == [
            (len(text), "".join(" " if each in "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029" else each for each in text))
            for text in texts
        ]
    else:
        assert found == texts
    assert back["end"].tolist() == list(map(len, texts))


@given(_texts)
def test_no_cell_is_a_formula_and_its_text_can_be_restored(text: str) -> None:
    assert guarded(text)[0] not in "=+-@\t\r\n"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("form", TABLES)
def test_a_pipe_gets_the_same_bytes(tmp_path: Path, form: str) -> None:
    code = (
        "from e2emern.tasks.export import export_table\n"
        "from tests.tasks.test_export_table import tabled\n"
        f"export_table(tabled('gout'), '-', form={form!r})"
    )
    piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    export_table(tabled("gout"), tmp_path / "out", form=form)
    assert piped == (tmp_path / "out").read_bytes()


def test_a_row_with_other_words_than_its_document_is_an_error(tmp_path: Path) -> None:
    ((document, (row,)),) = tabled("gout")
    with pytest.raises(InputError, match=r"0 \(record 0\) has 'out' at 1:4, expected the mention 'gout'"):
        export_table([(document, [row | {"start": 1}])], tmp_path / "out", form="csv")
    assert list(tmp_path.iterdir()) == []

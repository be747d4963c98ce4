"""A parser that makes other rows of a file has another version, so that its rows never mix with those of the last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

from e2emern.defaults import SAMPLE
from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import parse_source
from e2emern.tasks.parsers.version import PARSER
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.layout import Home
from e2emern.warehouse.parquet import read_table

FILES = {
    "medline.nbib": "PMID- 7\nOWN - NLM\nDP  - 2021 Mar 17\nTI  - Gout and\n      urate.\nPG  - 1-2\nAB  - A: (GO).\n"
    " B.\nLA  - eng\nJT  - Joints\n\nPMID- x\nTI  - No number.\n",
    "gold.PubTator": "1|t|Gout after aspirin.\n1|a|Aspirin (ASA) raised urate.\n1\t0\t4\tGout\tDisease\tMESH:D006073\n"
    "1\t11\t18\taspirin\tChemical\tD001241|C1\n1\t5\t9\twrong\tDisease\tD1\n1\t0\t4\tGout\tGene\t12\n\n2|t|\n2|a|\n",
    "bioc.xml": "<collection><source/><date/><key/><document><id>PMC1</id><passage><infon key='type'>title</infon>"
    "<offset>0</offset><text>Gout &amp; urate</text><annotation id='1'><infon key='type'>Disease</infon>"
    "<infon key='identifier'>MESH:D006073</infon><location offset='0' length='4'/><text>Gout</text></annotation>"
    "</passage><passage><offset>20</offset><text>Body.\n\nMore.</text></passage></document></collection>",
    "bioc.json": '{"documents": [{"id": "9", "infons": {"year": "2020"}, "passages": [{"offset": 0, "infons": '
    '{"section_type": "TITLE", "type": "front"}, "text": "Caf\\u00e9 au lait"}]}, {"id": "", "passages": []}]}',
    "own.jsonl": '{"document_id": "7", "pmid": 7, "passages": [{"section": "title", "offset": 0, "text": "Gout"}]}\n'
    "{\n",
}
MADE = {1: "df95cd1461e8a5e4d2b5f8ac626bd31dbf718d715f06ad5dfa90435d5eff5c8b"}
"""SHA-256 over the rows that each version of the parser makes of these files and the sample; the last is compared."""


def test_the_rows_of_the_parser_have_a_version(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    home = Home(tmp_path / "home")
    rows = list(_rows(find_sources([SAMPLE, *(tmp_path / name for name in FILES)]), home))
    assert len(rows) == 28 + 9
    found = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    assert MADE.get(PARSER) == found, (
        f"the parser makes other rows than version {PARSER} did. If that is meant, raise PARSER in "
        f"tasks/parsers/version.py and add its digest, {found}, to MADE: homes then parse their dump files again. "
        "If it is not, find the change"
    )
    assert max(MADE) == PARSER


def test_a_file_names_the_parser_that_made_it(tmp_path: Path) -> None:
    (source,) = find_sources([SAMPLE])
    assert source.key.digest == f"{hashlib.sha256(SAMPLE.read_bytes()).hexdigest()[:16]}-{PARSER}"
    assert astuple(source.key) == (source.key.name, f"{source.key.content}-{source.key.parser}")
    home = Home(tmp_path)
    assert parse_source(source, home=home, report=Report()).key == source.key
    assert home.documents(source.key).name == f"sample.xml.{source.key.digest}.parquet"


def _rows(sources: list[Source], home: Home) -> Iterator[dict[str, object]]:
    for source in sources:
        parse_source(source, home=home, report=Report())
        for path in (home.documents(source.key), home.deletions(source.key), home.failures(source.key)):
            for row in read_table(path).to_pylist():
                yield row | {"digest": source.key.content}

"""Queries to a home of many mentions, compared with the same queries to one big sorted Parquet file.

Sources have 30,000 documents, like PubMed's, with 12 mentions each. Update files revise one in 50 documents, evenly, so
that every source of the baseline has hidden rows: the worst case. The single file has the rows of the view `mentions`,
sorted by PMID; publishing is compared with writing it. DuckDB has two threads and 2 GB, and spills to disk. A separate
process generates one source after the other and reports its peak of resident memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import cast

import duckdb
import pyarrow as pa

from benchmarks.measuring import Result, Setting, alternated, spread
from benchmarks.peak import peak_bytes
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.quoting import literal
from e2emern.warehouse.schemas import DELETIONS, DOCUMENTS, FAILURES, MENTIONS
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.sources.counts import ParseSummary

ROOT = Path(__file__).resolve().parent.parent
MODEL, MESH = "generated", "generated"
VERSIONS = Versions(MODEL, MESH)
MENTIONS_OF_A_DOCUMENT = 12
_DOCUMENTS_OF_A_SOURCE = 30_000
_REVISED = 50  # one document in this many
_BRANCHES, _CONCEPTS = 20, 10_000
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "2GB", "threads": 2}

_DOCUMENTS_SQL = """
SELECT $source AS source, $digest AS digest, row_number() OVER () - 1 AS record, pmid::VARCHAR AS document_id, pmid,
    1 AS version, text AS title, '' AS abstract,
    [{{'section': 'title', 'offset': 0, 'text': text}}] AS passages,
    'Journal ' || pmid % 500 AS journal, (2000 + pmid % 25)::VARCHAR AS published, 'eng' AS language,
    NULL::VARCHAR AS vernacular_title, NULL::VARCHAR AS abstract_type,
    sha256('0' || chr(9) || text || chr(10)) AS text_sha256, [] AS annotations, [] AS invalid_annotations
FROM (
    SELECT pmid, array_to_string(list_transform(range({places}), lambda place: rpad('word' || lpad(
        floor({concepts} * (hash(pmid, place, $source) % 1000003 / 1000003.0) ** 5)::INTEGER::VARCHAR, 5, '0'
    ), 40, ' ')), '') AS text
    FROM (SELECT unnest(range($first, $stop, $step)) AS pmid)
)
"""
# A concept's rank is skewed: half of all mentions are of one in 32 concepts.
_MENTIONS_SQL = """
WITH
    listed AS (SELECT unnest(range($first, $stop, $step)) AS pmid),
    document AS (SELECT pmid, row_number() OVER () - 1 AS record FROM listed),
    drawn AS (
        SELECT record, pmid, place, hash(pmid, place, $source) AS seed,
            floor({concepts} * (hash(pmid, place, $source) % 1000003 / 1000003.0) ** 5)::INTEGER AS concept
        FROM document, range({places}) AS one(place)
    )
SELECT $source AS source, $digest AS digest, record, pmid::VARCHAR AS document_id, pmid,
    (place // 2)::INTEGER AS sentence, (place * 40)::INTEGER AS start, (place * 40 + 9)::INTEGER AS end,
    'word' || lpad(concept::VARCHAR, 5, '0') AS text,
    CASE concept % 2 WHEN 0 THEN 'Disease' ELSE 'Chemical' END AS entity_type,
    CASE WHEN seed % 10 > 0 THEN 'D' || lpad(concept::VARCHAR, 6, '0') END AS mesh_id,
    CASE WHEN seed % 10 > 0 THEN 'Concept ' || concept END AS mesh_name,
    (seed % 997 / 997.0)::FLOAT AS ner_score, (seed % 991 / 991.0)::FLOAT AS mid_score,
    (seed % 983 / 983.0)::FLOAT AS high_score, (seed % 977 / 977.0)::FLOAT AS link_score,
    CASE WHEN seed % 10 > 0 THEN 'exact' END AS how, '{model}' AS model_version, '{mesh}' AS mesh_version
FROM drawn ORDER BY record, place
"""
# {mentions} is the view, or the file.
QUESTIONS = {
    "top_concepts": """
        SELECT mesh_id, count(*) AS mentions FROM {mentions} WHERE mesh_id IS NOT NULL
        GROUP BY mesh_id ORDER BY mentions DESC, mesh_id LIMIT 20
    """,
    "tree_roll_up": """
        SELECT ancestor_id, sum(mentions)::BIGINT AS mentions
        FROM (SELECT mesh_id, count(*) AS mentions FROM {mentions} GROUP BY mesh_id) JOIN entity_tree USING (mesh_id)
        GROUP BY ancestor_id ORDER BY mentions DESC, ancestor_id LIMIT 20
    """,
    "co_mention": """
        SELECT count(*) FROM (SELECT DISTINCT document_id FROM {mentions} WHERE mesh_id = 'D000002')
        JOIN (SELECT DISTINCT document_id FROM {mentions} WHERE mesh_id = 'D000101') USING (document_id)
    """,
    "pmid": """SELECT start, "end", text, mesh_id FROM {mentions} WHERE pmid = 1000777 ORDER BY ALL""",
}


def warehouse_over_file(setting: Setting) -> Result:
    """Return the ratios to the sorted file of all queries and of publishing, and the greatest one of a query."""
    folder = setting.folder / "warehouse"
    command = [sys.executable, "-m", "benchmarks.warehouse", str(folder), str(setting.mentions), str(setting.rounds)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(folder: Path, *, mentions: int, rounds: int) -> Result:
    """Make the home and the file, and query both. Raises ValueError if their answers or counts are wrong."""
    home = Home(folder)
    begun = time.perf_counter()
    documents = make_home(home, mentions=mentions)
    made = time.perf_counter()
    first = publish(home, VERSIONS)
    publishing, publishing_peak = time.perf_counter() - made, peak_bytes()
    if (first.documents, first.superseded) != (documents, -(-documents // _REVISED)):
        raise ValueError(f"{first.documents} documents are shown and {first.superseded} superseded, of {documents}")
    _write_source(home, "pubmed30n9999.xml", range(1_000_000, 1_000_000 + min(3_000, documents)))
    written = time.perf_counter()
    publish(home, VERSIONS)
    night = time.perf_counter() - written
    single = folder / "sorted.parquet"
    with open_snapshot(home, config=_CONFIG | {"temp_directory": str(folder / "spill")}) as connection:
        begun_sorting = time.perf_counter()
        connection.execute(f"COPY (FROM mentions ORDER BY pmid, start) TO {literal(str(single))} (COMPRESSION zstd)")
        sorting = time.perf_counter() - begun_sorting
        _print("publish", spread([(sorting, publishing)], sides=("file", "views")))
        questions = {}
        for name, sql in QUESTIONS.items():
            questions[name] = _asked(connection, sql, single, rounds=rounds)
            _print(name, questions[name])
    slowest = max(questions.values(), key=lambda one: float(str(one["ratio"])))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != single)
    return {
        **{figure: slowest[figure] for figure in ("ratio", "min", "max")},
        "target": "< 1.6",
        "mentions": first.mentions,
        "sources": first.sources,
        "superseded": first.superseded,
        "questions": questions,
        "publish": spread([(sorting, publishing)], sides=("file", "views")),
        "publish_a_night_seconds": round(night, 2),
        "generate_seconds": round(made - begun, 1),
        "gigabytes": {"publish": round(publishing_peak / 1e9, 2), "with questions": round(peak_bytes() / 1e9, 2)},
        "gigabytes_on_disk": {
            "file": round(single.stat().st_size / 1e9, 2),
            "views": round(sum(path.stat().st_size for path in files) / 1e9, 2),
        },
        **{name: str(value) for name, value in _CONFIG.items()},
    }


def _print(name: str, result: Result) -> None:
    seconds = cast(dict[str, list[float]], result["seconds"])
    sides = ", ".join(f"{side} {median(each):.3f} s" for side, each in seconds.items())
    print(f"  {name:14s}{result['ratio']:>8}   {sides}", file=sys.stderr, flush=True)


def make_home(home: Home, *, mentions: int) -> int:
    """Write the vocabulary and the sources of a home, without publishing; return the number of documents."""
    concepts = [_concept(number) for number in range(_CONCEPTS)]
    write_entities(home, concepts, mesh_version=MESH)
    documents = max(1_000, mentions // MENTIONS_OF_A_DOCUMENT)
    for source, pmids in _sources(documents):
        _write_source(home, source, pmids)
    return documents


def _asked(connection: duckdb.DuckDBPyConnection, sql: str, single: Path, *, rounds: int) -> Result:
    file, view = (sql.format(mentions=one) for one in (f"read_parquet({literal(str(single))})", "mentions"))
    answers = [connection.execute(one).fetchall() for one in (file, view)]  # and both are warm
    if answers[0] != answers[1]:
        raise ValueError(f"the file answers {answers[0][:3]}, the view {answers[1][:3]}, to {sql}")
    seconds = alternated(
        lambda: connection.execute(file).fetchall(), lambda: connection.execute(view).fetchall(), rounds=rounds
    )
    return spread(seconds, sides=("file", "views"))


def _sources(documents: int) -> Iterator[tuple[str, range]]:
    """Yield baseline files of ascending PMIDs, then update files of revised ones."""
    pmids = range(1_000_000, 1_000_000 + documents)
    number = 0
    for each in (pmids, pmids[::_REVISED]):
        for start in range(0, len(each), _DOCUMENTS_OF_A_SOURCE):
            number += 1
            yield f"pubmed30n{number:04d}.xml", each[start : start + _DOCUMENTS_OF_A_SOURCE]


def _write_source(home: Home, source: str, pmids: range) -> None:
    key = SourceKey(source, "0" * 16)
    parsed = ParseSummary(
        key=key,
        format="PubMed XML",
        bytes=1,
        documents=len(pmids),
        unusable=0,
        deleted=0,
        invalid_annotations=0,
    )
    counts = parsed.annotated(without_text=0, unread=0, carried=0)
    for path, schema in (
        (home.deletions(key), DELETIONS),
        (home.failures(key), FAILURES),
        (home.unread(key, VERSIONS), FAILURES),
    ):
        with TableWriter(path, schema):
            pass
    given = {"source": source, "digest": key.digest, "first": pmids.start, "stop": pmids.stop, "step": pmids.step}
    sql = {
        "documents": _DOCUMENTS_SQL.format(concepts=_CONCEPTS, places=MENTIONS_OF_A_DOCUMENT),
        "mentions": _MENTIONS_SQL.format(concepts=_CONCEPTS, places=MENTIONS_OF_A_DOCUMENT, model=MODEL, mesh=MESH),
    }
    with duckdb.connect(config=_CONFIG) as connection:
        for path, schema, metadata, query in (
            (home.documents(key), DOCUMENTS, parsed.to_metadata(), sql["documents"]),
            (home.mentions(key, VERSIONS), MENTIONS, counts.to_metadata(), sql["mentions"]),
        ):
            with TableWriter(path, schema, metadata=metadata) as writer:
                for batch in connection.sql(query, params=given).to_arrow_reader(65_536):
                    writer.append(pa.Table.from_batches([batch]).cast(schema))


def _concept(number: int) -> dict[str, object]:
    """Return a concept of one of twenty trees, each node with eight children."""
    return {
        "mesh_id": f"D{number:06d}",
        "name": f"Concept {number}",
        "names": [f"Concept {number}"],
        "name_kinds": ["preferred"],
        "entity_type": ("Disease", "Chemical")[number % 2],
        "tree_numbers": [_tree_number(number)],
        "record_type": "descriptor",
        "mapped_to": [],
        "aliases": [],
        "mesh_version": MESH,
    }


def _tree_number(number: int) -> str:
    return f"C{number:02d}" if number < _BRANCHES else f"{_tree_number(number // 8)}.{number % 8:03d}"


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), mentions=int(sys.argv[2]), rounds=int(sys.argv[3]))))

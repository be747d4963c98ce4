"""The columns of every table that is a Parquet file, with a description of each.

One Parquet file per table and source. `source` and `digest` name the input file, `record` the 0-based
position of the record in it; the three together are a row's origin.
"""

from __future__ import annotations

import pyarrow as pa


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


_ORIGIN = [
    _column("source", pa.string(), "Name of the input file", nullable=False),
    _column("digest", pa.string(), "First 16 hex digits of the SHA-256 of the input file", nullable=False),
    _column("record", pa.int64(), "0-based position of the record in the input file", nullable=False),
]

_PASSAGE = pa.struct([("section", pa.string()), ("offset", pa.int32()), ("text", pa.string())])
_ANNOTATION = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("text", pa.string()),
        ("entity_type", pa.string()),
        ("identifiers", pa.list_(pa.string())),
    ]
)

DOCUMENTS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "PMID, or the source's own document id", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, where there is one"),
        _column("version", pa.int32(), "PubMed's version of the record, 1 where there is none", nullable=False),
        _column("title", pa.string(), "Title, markup flattened", nullable=False),
        _column(
            "abstract", pa.string(), "Abstract, markup flattened, section labels kept as 'LABEL: '", nullable=False
        ),
        _column("passages", pa.list_(_PASSAGE), "Every passage: section, offset in code points, text", nullable=False),
        _column("journal", pa.string(), "Journal title"),
        _column("published", pa.string(), "Date of publication, ISO 8601, as precise as the source"),
        _column("language", pa.string(), "Language code of the source, such as eng"),
        _column("text_sha256", pa.string(), "SHA-256 of the text and offsets of all passages", nullable=False),
        _column("annotations", pa.list_(_ANNOTATION), "Mentions that the source itself carries", nullable=False),
    ]
)

DELETIONS = pa.schema([*_ORIGIN, _column("pmid", pa.int64(), "PubMed id that the source withdraws", nullable=False)])

FAILURES = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Id of the record, where it could be read"),
        _column("position", pa.string(), "Where in the input file: line, byte or element", nullable=False),
        _column("reason", pa.string(), "Why the record could not be used", nullable=False),
    ]
)

MENTIONS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Document the mention stands in", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, where there is one"),
        _column("sentence", pa.int32(), "0-based position of the sentence in the document", nullable=False),
        _column("start", pa.int32(), "First code point of the mention in the document", nullable=False),
        _column("end", pa.int32(), "Code point after the last of the mention", nullable=False),
        _column("text", pa.string(), "The words of the mention", nullable=False),
        _column("entity_type", pa.string(), "Disease or Chemical", nullable=False),
        _column("mesh_id", pa.string(), "MeSH concept; null when recognised but not linked"),
        _column("mesh_name", pa.string(), "Preferred name of the concept"),
        _column("ner_score", pa.float32(), "Low level: probability of the span", nullable=False),
        _column("mid_score", pa.float32(), "Mid level: probability that the sentence mentions the concept"),
        _column("high_score", pa.float32(), "High level: probability that these words mention the concept"),
        _column("link_score", pa.float32(), "Probability of the link, from all evidence"),
        _column("how", pa.string(), "Evidence that decided the link"),
        _column("model_version", pa.string(), "Model that found the mention", nullable=False),
        _column("mesh_version", pa.string(), "Vocabulary it was linked to", nullable=False),
    ]
)

ENTITIES = pa.schema(
    [
        _column("mesh_id", pa.string(), "Concept id: MeSH D or C number, or OMIM number", nullable=False),
        _column("name", pa.string(), "Preferred name", nullable=False),
        _column("names", pa.list_(pa.string()), "All names, the preferred one first", nullable=False),
        _column("entity_type", pa.string(), "Disease or Chemical", nullable=False),
        _column("tree_numbers", pa.list_(pa.string()), "MeSH tree numbers, such as C04.588", nullable=False),
        _column("record_type", pa.string(), "descriptor, supplementary or omim", nullable=False),
        _column("mapped_to", pa.list_(pa.string()), "Descriptors a supplementary record is mapped to", nullable=False),
        _column("aliases", pa.list_(pa.string()), "Other ids of the same concept, mostly OMIM", nullable=False),
        _column("mesh_version", pa.string(), "Version of the vocabulary", nullable=False),
    ]
)

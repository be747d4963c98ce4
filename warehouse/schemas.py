"""Define the columns of every table and view, with a description of each.

The first five and the tree are stored in Parquet files; the others are views or tables of the snapshot. `source` and
`digest` identify the input file, `record` is the 0-based position of the record in it; the three together are the
origin of a row.
"""

from __future__ import annotations

import pyarrow as pa


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field[pa.DataType]:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


_DIGEST = "First 16 hex digits of the SHA-256 of the input file, `-`, and the version of the parser"
_ORIGIN = [
    _column("source", pa.string(), "Name of the input file", nullable=False),
    _column("digest", pa.string(), _DIGEST, nullable=False),
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
        ("normalized_type", pa.string()),
        ("normalized_ids", pa.list_(pa.string())),
    ]
)
_INVALID_ANNOTATION = pa.struct([("position", pa.string()), ("kind", pa.string()), ("reason", pa.string())])

DOCUMENTS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "PMID, or the source's own document id", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, if there is one"),
        _column("version", pa.int32(), "PubMed's version of the record, 1 if there is none", nullable=False),
        _column("title", pa.string(), "Title, markup flattened", nullable=False),
        _column(
            "abstract", pa.string(), "Abstract, markup flattened, section labels kept as 'LABEL: '", nullable=False
        ),
        _column("passages", pa.list_(_PASSAGE), "Every passage: section, offset in code points, text", nullable=False),
        _column("journal", pa.string(), "Journal title"),
        _column("published", pa.string(), "Date of publication, ISO 8601, as precise as the source"),
        _column("language", pa.string(), "Language code of the source, such as eng"),
        _column(
            "vernacular_title", pa.string(), "Title in the language of the article; not annotated, not part of the text"
        ),
        _column(
            "abstract_type",
            pa.string(),
            "Type of PubMed's OtherAbstract, such as PIP, that is the abstract; null for the article's own",
        ),
        _column("text_sha256", pa.string(), "SHA-256 of the text and offsets of all passages", nullable=False),
        _column("annotations", pa.list_(_ANNOTATION), "Mentions annotated in the source", nullable=False),
        _column(
            "invalid_annotations",
            pa.list_(_INVALID_ANNOTATION),
            "Annotations and lines of the source that could not be used, and why",
            nullable=False,
        ),
    ]
)

DELETIONS = pa.schema(
    [
        *_ORIGIN,
        _column("pmid", pa.int64(), "PubMed id that the source withdraws", nullable=False),
        _column("version", pa.int32(), "PubMed's version of the record that is withdrawn; null for all"),
    ]
)

FAILURES = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Id of the record, if it could be read"),
        _column("position", pa.string(), "Where in the input file: line, byte or element", nullable=False),
        _column("reason", pa.string(), "Why the record could not be used", nullable=False),
    ]
)

MENTIONS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Document that contains the mention", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, if there is one"),
        _column("sentence", pa.int32(), "0-based position of the sentence in the document", nullable=False),
        _column("start", pa.int32(), "First code point of the mention in the document", nullable=False),
        _column("end", pa.int32(), "First code point after the mention", nullable=False),
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
        _column("name_kinds", pa.list_(pa.string()), "Kind of each name: preferred, entry or permuted", nullable=False),
        _column("entity_type", pa.string(), "Disease or Chemical", nullable=False),
        _column("tree_numbers", pa.list_(pa.string()), "MeSH tree numbers, such as C04.588", nullable=False),
        _column("record_type", pa.string(), "descriptor, supplementary or omim", nullable=False),
        _column("mapped_to", pa.list_(pa.string()), "Descriptors a supplementary record is mapped to", nullable=False),
        _column("aliases", pa.list_(pa.string()), "Other ids of the same concept, mostly OMIM", nullable=False),
        _column("mesh_version", pa.string(), "Version of the vocabulary", nullable=False),
    ]
)

ENTITY_TREE = pa.schema(
    [
        _column("mesh_id", pa.string(), "Concept id", nullable=False),
        _column("ancestor_id", pa.string(), "The concept itself, or one above it in the MeSH trees", nullable=False),
    ]
)

ANNOTATIONS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Document that contains the annotation", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, if there is one"),
        _column("start", pa.int32(), "First code point of the annotation in the document"),
        _column("end", pa.int32(), "First code point after the annotation"),
        _column("text", pa.string(), "The annotated words"),
        _column("entity_type", pa.string(), "Type as the source writes it"),
        _column("identifiers", pa.list_(pa.string()), "Identifiers as the source writes them"),
        _column("normalized_type", pa.string(), "Disease or Chemical; null for another type"),
        _column("normalized_ids", pa.list_(pa.string()), "Ids of a disease or chemical as entities writes them"),
    ]
)

XREFS = pa.schema(
    [
        _column("mesh_id", pa.string(), "Concept id, as in mentions and entities", nullable=False),
        _column("database", pa.string(), "Database of the other id: OMIM, DOID or MeSH", nullable=False),
        _column("identifier", pa.string(), "The other id with its prefix, such as OMIM:114480", nullable=False),
        _column("mesh_version", pa.string(), "Version of the vocabulary that has the id", nullable=False),
    ]
)

INVALID_ANNOTATIONS = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Document with the annotation", nullable=False),
        _column("pmid", pa.int64(), "PubMed id, if there is one"),
        _column("position", pa.string(), "Where in the input file: line or element"),
        _column("kind", pa.string(), "What is wrong, such as 'outside the text'"),
        _column("reason", pa.string(), "What was found and what was expected"),
    ]
)

SOURCES = pa.schema(
    [
        _column("source", pa.string(), "Name of the input file", nullable=False),
        _column("digest", pa.string(), _DIGEST, nullable=False),
        _column(
            "rank", pa.int32(), "Order of precedence: of two records of one document and Version the higher rank wins"
        ),
        _column("current", pa.bool_(), "False when the file was issued again with other content", nullable=False),
        _column("format", pa.string(), "Format of the input file", nullable=False),
        _column("bytes", pa.int64(), "Size of the input file", nullable=False),
        _column("status", pa.string(), "complete, or damaged: its readable part was used", nullable=False),
        _column("error", pa.string(), "What is damaged"),
        _column("parsed", pa.int64(), "Records read = annotated + without_text + failed + deleted", nullable=False),
        _column("documents", pa.int64(), "Rows in the documents file", nullable=False),
        _column("annotated", pa.int64(), "Documents that the model has read", nullable=False),
        _column("without_text", pa.int64(), "Documents with no text to read", nullable=False),
        _column("failed", pa.int64(), "Records that could not be used; each is a row of failures", nullable=False),
        _column("deleted", pa.int64(), "Withdrawals; each is a row of deletions", nullable=False),
        _column(
            "invalid_annotations",
            pa.int64(),
            "Annotations and lines that could not be used; their documents were",
            nullable=False,
        ),
        _column(
            "carried",
            pa.int64(),
            "Annotated documents whose mentions were reused from an earlier source",
            nullable=False,
        ),
        _column("mentions", pa.int64(), "Rows in the mentions file", nullable=False),
        _column("first_run", pa.string(), "First run that processed the file"),
        _column(
            "last_run",
            pa.string(),
            "Last run that annotated the file, or found it instead of other content with its name",
        ),
        _column("annotated_by", pa.string(), "Run that annotated it with this model and vocabulary"),
    ]
)

SUPERSEDED = pa.schema(
    [
        *_ORIGIN,
        _column("document_id", pa.string(), "Document of which this version is not shown", nullable=False),
        _column("by_source", pa.string(), "Source that replaces or withdraws it", nullable=False),
        _column("by_digest", pa.string(), "Digest of that source", nullable=False),
        _column("reason", pa.string(), "revised, deleted, or reissued with its whole file", nullable=False),
    ]
)

HIDDEN = pa.schema(
    [
        _column("view", pa.string(), "View that leaves the document out: documents or mentions", nullable=False),
        _column("file", pa.uint64(), "0-based place of the file in the view's list of such files", nullable=False),
        _column("place", pa.int64(), "Record of the document; in merged files, their column place", nullable=False),
    ]
)

FILES = pa.schema(
    [
        _column("view", pa.string(), "View that reads the file; null if it reads a merged file in its place"),
        _column("path", pa.string(), "Path of the file, relative to the home", nullable=False),
        _column("source", pa.string(), "Input file it was made from; null for the vocabulary"),
        _column("digest", pa.string(), "Digest of that input file"),
        _column("rows", pa.int64(), "Rows in the file, of all its input files", nullable=False),
        _column("bytes", pa.int64(), "Size of the file", nullable=False),
        _column("sha256", pa.string(), "SHA-256 of the file, in hex, when it was published first", nullable=False),
    ]
)

RUNS = pa.schema(
    [
        _column("run_id", pa.string(), "Id of the run; sorts in the order of the runs", nullable=False),
        _column("started", pa.timestamp("us", "UTC"), "When it began", nullable=False),
        _column("finished", pa.timestamp("us", "UTC"), "When it ended; null when it still runs or was killed"),
        _column("host", pa.string(), "Machine it ran on", nullable=False),
        _column("sources", pa.int64(), "Input files of the run", nullable=False),
        _column("versions", pa.string(), "Versions of model, vocabulary and software, JSON", nullable=False),
        _column("options", pa.string(), "Options it was given, JSON", nullable=False),
        _column("stages", pa.string(), "What each stage did and how many seconds it took, JSON", nullable=False),
        _column("error", pa.string(), "What stopped it"),
    ]
)

MODELS = pa.schema(
    [
        _column("model_version", pa.string(), "Version of the model", nullable=False),
        _column(
            "champion",
            pa.bool_(),
            "Whether it was promoted and is the champion; false in every row while the bundled model is the champion",
            nullable=False,
        ),
        _column("added", pa.timestamp("us", "UTC"), "When it was added to the home; null when it is not kept there"),
        _column("promoted", pa.timestamp("us", "UTC"), "When it became the champion last"),
        _column("evaluation", pa.string(), "Its last evaluation"),
        _column("passed", pa.bool_(), "Whether it passed the gate in that evaluation; null when nothing was compared"),
        _column("reasons", pa.string(), "Why it did not pass"),
        _column("recipe", pa.string(), "Recipe and data of its training, JSON"),
        _column("metrics", pa.string(), "The model's metrics.json"),
    ]
)

EVALUATIONS = pa.schema(
    [
        _column("evaluation", pa.string(), "Id of the evaluation", nullable=False),
        _column("evaluated", pa.timestamp("us", "UTC"), "When it was made", nullable=False),
        _column("model_version", pa.string(), "Version of the model", nullable=False),
        _column("mesh_version", pa.string(), "Version of the vocabulary", nullable=False),
        _column("corpus", pa.string(), "Name of the gold corpus", nullable=False),
        _column(
            "split",
            pa.string(),
            "Name of the split, such as dev; gold if the file names none",
            nullable=False,
        ),
        _column("protocol", pa.string(), "ner, link, mention, document or paper", nullable=False),
        _column("slice", pa.string(), "all, or the group of mentions that the figure covers", nullable=False),
        _column("entity_type", pa.string(), "Disease or Chemical", nullable=False),
        _column("figure", pa.string(), "precision, recall, f1, accuracy@1, exact_match or recall@k", nullable=False),
        _column("value", pa.float64(), "The figure, from 0 to 1", nullable=False),
        _column("tp", pa.int64(), "True positives", nullable=False),
        _column("fp", pa.int64(), "False positives; null if gold spans are given"),
        _column("fn", pa.int64(), "False negatives", nullable=False),
        _column("documents", pa.int64(), "Documents of the split", nullable=False),
        _column("floor", pa.float64(), "The same figure when the training mentions are looked up"),
        _column(
            "ceiling",
            pa.float64(),
            "The same figure for the gold annotations, as far as the vocabulary has their concepts",
        ),
    ]
)

CHECKS = pa.schema(
    [
        _column("evaluation", pa.string(), "Id of the evaluation", nullable=False),
        _column("champion_version", pa.string(), "Model that was the champion"),
        _column("challenger_version", pa.string(), "Model that was to replace it", nullable=False),
        _column("name", pa.string(), "What is checked", nullable=False),
        _column("champion", pa.float64(), "Value of the champion"),
        _column("challenger", pa.float64(), "Value of the challenger"),
        _column("low", pa.float64(), "Lower end of the 95 % interval of challenger - champion"),
        _column("high", pa.float64(), "Upper end of that interval"),
        _column("least", pa.float64(), "Required minimum; null when the value is only reported"),
        _column("passed", pa.bool_(), "Whether the minimum is reached", nullable=False),
        _column("reason", pa.string(), "Why it did not pass"),
    ]
)

CONCEPTS = pa.schema(
    [
        _column("mesh_id", pa.string(), "Concept id", nullable=False),
        _column("mesh_name", pa.string(), "Preferred name of the concept"),
        _column("mentions", pa.int64(), "Rows of mentions with this concept", nullable=False),
    ]
)

SNAPSHOT = pa.schema(
    [
        _column("number", pa.int64(), "Number of the snapshot", nullable=False),
        _column("created", pa.timestamp("us", "UTC"), "When it was published", nullable=False),
        _column(
            "operation",
            pa.string(),
            "What published it: annotate, backfill, relink, evaluate, withdraw, or publish (the command)",
            nullable=False,
        ),
        _column("model_version", pa.string(), "Model whose mentions it shows", nullable=False),
        _column("mesh_version", pa.string(), "Vocabulary they are linked to", nullable=False),
        _column("sources", pa.int64(), "Current input files", nullable=False),
        _column("damaged", pa.int64(), "Of these, damaged ones", nullable=False),
        _column("documents", pa.int64(), "Rows of documents", nullable=False),
        _column("mentions", pa.int64(), "Rows of mentions", nullable=False),
        _column("linked", pa.int64(), "Of these, with a concept", nullable=False),
        _column("concepts", pa.int64(), "Different concepts mentioned", nullable=False),
        _column("failures", pa.int64(), "Rows of failures", nullable=False),
        _column("deletions", pa.int64(), "Rows of deletions", nullable=False),
        _column("superseded", pa.int64(), "Rows of superseded", nullable=False),
        _column("fingerprint", pa.string(), "SHA-256 of what it shows: equal when nothing changed", nullable=False),
        _column("previous", pa.int64(), "Number of the snapshot that was current when it was published"),
        _column("exceeded", pa.string(), "Limits that it exceeds against the previous one"),
        _column("accepted", pa.string(), "Who published it anyway, and why"),
    ]
)

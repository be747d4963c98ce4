-- The document in this snapshot.
SELECT source, digest, record, document_id, pmid, version, title, passages, journal, published, language,
    vernacular_title, text_sha256, len(annotations) AS annotations
FROM documents WHERE document_id = $document

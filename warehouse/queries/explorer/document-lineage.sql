-- The records of the document in the sources of this snapshot: which one is shown, and which sources replaced the others.
WITH
    shown AS (
        SELECT source, digest, record, 'shown' AS state, NULL AS by_source FROM documents
        WHERE document_id = $document
    ),
    replaced AS (
        SELECT source, digest, record, reason AS state, by_source FROM superseded WHERE document_id = $document
    ),
    records AS (FROM shown UNION ALL FROM replaced),

    final AS (
        SELECT state, source, digest, record, by_source, rank, first_run, annotated_by, started AS annotated,
            versions ->> '$.e2emern' AS software
        FROM records
        LEFT JOIN sources USING (source, digest)
        LEFT JOIN runs ON run_id = annotated_by
    )
SELECT * FROM final ORDER BY rank DESC NULLS LAST, source, record

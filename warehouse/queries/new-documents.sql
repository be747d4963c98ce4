-- Documents that an earlier snapshot did not show, or showed in another revision.
--
-- $since snapshot = previous: number of the earlier snapshot
--
-- Example: e2emern query new-documents --since 1 --home home
WITH
    before AS (SELECT document_id, text_sha256, source, digest, record FROM earlier.documents),
    now AS (SELECT document_id, text_sha256, source, digest, record, title, published FROM documents),

    touched AS (FROM now ANTI JOIN before USING (source, digest, record)),
    final AS (
        SELECT touched.document_id, touched.title, touched.published, touched.source,
            CASE
                WHEN before.document_id IS NULL THEN 'new'
                WHEN before.text_sha256 = touched.text_sha256 THEN 'revised, same text'
                ELSE 'revised'
            END AS change
        FROM touched LEFT JOIN before USING (document_id)
    )
SELECT * FROM final ORDER BY change, published DESC NULLS LAST, document_id

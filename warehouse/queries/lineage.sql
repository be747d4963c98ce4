-- Where each mention of a document comes from: source file, its digest, record, run, software, model and vocabulary.
--
-- $document text: the document's id, a PMID for PubMed
--
-- Example: e2emern query lineage --document 99000016 --home home
WITH
    mention AS (FROM mentions WHERE document_id = $document),

    final AS (
        SELECT start, "end", text, mesh_id, source, digest, record, run_id, started,
            versions ->> '$.e2emern' AS software, model_version, mesh_version
        FROM mention
        JOIN sources USING (source, digest)
        LEFT JOIN runs ON run_id = annotated_by
    )
SELECT * FROM final ORDER BY start, "end", mesh_id

-- Annotations and lines of sources that could not be used, by source and kind: how many, in how many documents, with an example.
--
-- Their documents are still annotated. `e2emern trace` shows those of one document.
-- $name text = null: only sources whose name contains this
-- Example: e2emern query invalid-annotations --home home
WITH
    final AS (
        SELECT source, kind, count(*) AS annotations, count(DISTINCT record) AS documents,
            arg_min({'document_id': document_id, 'position': position, 'reason': reason}, (record, position)) AS example
        FROM invalid_annotations
        WHERE $name::VARCHAR IS NULL OR contains(source, $name)
        GROUP BY source, kind
    )
SELECT * FROM final ORDER BY annotations DESC, source, kind

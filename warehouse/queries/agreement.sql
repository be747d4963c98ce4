-- How far our mentions agree with the annotations in the sources, by source and type: same words, and of these the same
-- concept. Spellings of Disease and Chemical count as one type; prefixes, URLs and case of an id are ignored; other
-- types are as the source writes them.
--
-- Example: e2emern query agreement --home home
WITH
    theirs AS (
        SELECT source, coalesce(normalized_type, entity_type) AS entity_type, document_id, start, "end", normalized_ids
        FROM annotations
    ),
    named AS (
        SELECT mesh_id,
            list_transform(list_prepend(mesh_id, aliases), lambda id: regexp_replace(id, '^(MESH|OMIM):', '')) AS ids
        FROM entities
    ),

    ours AS (
        SELECT source, document_id, start, "end", flatten(list(ids) FILTER (ids IS NOT NULL)) AS ids
        FROM mentions SEMI JOIN theirs USING (source, document_id, start, "end") LEFT JOIN named USING (mesh_id)
        GROUP BY ALL
    ),
    compared AS (
        SELECT source, entity_type, ours.document_id IS NOT NULL AS same_words,
            coalesce(list_has_any(theirs.normalized_ids, ours.ids), false) AS same_concept
        FROM theirs LEFT JOIN ours USING (source, document_id, start, "end")
    ),
    final AS (
        SELECT source, entity_type, count(*) AS annotations, count(*) FILTER (same_words) AS same_words,
            count(*) FILTER (same_concept) AS same_concept, round(avg(same_words::INTEGER), 3) AS words_share,
            round(avg(same_concept::INTEGER), 3) AS concept_share
        FROM compared GROUP BY source, entity_type
    )
SELECT * FROM final ORDER BY source, annotations DESC, entity_type

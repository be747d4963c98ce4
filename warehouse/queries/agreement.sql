-- Mentions that sources carry themselves against ours, by source and type as written there: same words, and of these
-- the same concept.
--
-- Example: e2emern query agreement --home home
WITH
    theirs AS (
        SELECT source, entity_type, document_id, start, "end",
            list_transform(identifiers, lambda id: regexp_replace(id, '^(MESH|OMIM):', '')) AS identifiers
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
            coalesce(list_has_any(theirs.identifiers, ours.ids), false) AS same_concept
        FROM theirs LEFT JOIN ours USING (source, document_id, start, "end")
    ),
    final AS (
        SELECT source, entity_type, count(*) AS annotations, count(*) FILTER (same_words) AS same_words,
            count(*) FILTER (same_concept) AS same_concept, round(avg(same_words::INTEGER), 3) AS words_share,
            round(avg(same_concept::INTEGER), 3) AS concept_share
        FROM compared GROUP BY source, entity_type
    )
SELECT * FROM final ORDER BY source, annotations DESC, entity_type

-- Mentions that sources carry themselves against ours, source by source: same words, and of these the same concept.
--
-- Example: e2emern query agreement --home home
WITH
    theirs AS (
        SELECT source, document_id, start, "end",
            list_transform(identifiers, lambda id: regexp_replace(id, '^MESH:', '')) AS identifiers
        FROM annotations
    ),
    ours AS (
        SELECT source, document_id, start, "end", list(mesh_id) FILTER (mesh_id IS NOT NULL) AS mesh_ids
        FROM mentions GROUP BY ALL
    ),

    compared AS (
        SELECT source, ours.document_id IS NOT NULL AS same_words,
            coalesce(list_has_any(theirs.identifiers, ours.mesh_ids), false) AS same_concept
        FROM theirs LEFT JOIN ours USING (source, document_id, start, "end")
    ),
    final AS (
        SELECT source, count(*) AS annotations, count(*) FILTER (same_words) AS same_words,
            count(*) FILTER (same_concept) AS same_concept, round(avg(same_words::INTEGER), 3) AS words_share,
            round(avg(same_concept::INTEGER), 3) AS concept_share
        FROM compared GROUP BY source
    )
SELECT * FROM final ORDER BY annotations DESC, source

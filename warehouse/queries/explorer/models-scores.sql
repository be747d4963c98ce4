-- The figures of each model in its latest evaluation.
WITH
    latest AS (
        SELECT * FROM evaluations
        QUALIFY evaluated = max(evaluated) OVER (PARTITION BY model_version, corpus, split)
    )
SELECT model_version, corpus, split, protocol, slice, entity_type, figure, value, tp, fp, fn, documents, floor, ceiling,
    evaluation
FROM latest
ORDER BY corpus, split, protocol, slice <> 'all', slice, entity_type, figure, model_version

-- Mentions, documents and different words of the concept. Words of several concepts count once.
WITH
    final AS (
        SELECT count(DISTINCT (document_id, start, "end")) AS mentions, count(DISTINCT document_id) AS documents,
            count(DISTINCT lower(text)) AS words, round(avg(link_score), 3) AS link_score
        FROM mine
    )
SELECT * FROM final

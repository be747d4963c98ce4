-- Documents with these words in the title, the newest first.
SELECT document_id, title, journal, published FROM documents
WHERE contains(lower(title), lower($text))
ORDER BY published DESC NULLS LAST, pmid DESC NULLS LAST, document_id
LIMIT 20

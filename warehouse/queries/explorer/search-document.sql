-- The document with this id.
SELECT document_id, title, journal, published FROM documents WHERE document_id = $text

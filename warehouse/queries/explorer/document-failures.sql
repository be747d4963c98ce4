-- Records with the id of the document that could not be used.
SELECT source, digest, record, position, reason FROM failures WHERE document_id = $document ORDER BY ALL

-- The concept in the vocabulary.
SELECT mesh_id, name, names, entity_type, tree_numbers, record_type, mapped_to, aliases
FROM entities WHERE mesh_id = $concept

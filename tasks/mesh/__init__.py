"""Convert the formats of MeSH into one entities table for each version."""

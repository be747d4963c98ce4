"""MeSH as data: the formats that it comes in become one entities table for each version."""

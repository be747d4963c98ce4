"""The steps of the flows: parse, annotate, link, export, ingest, import MeSH, evaluate and train."""

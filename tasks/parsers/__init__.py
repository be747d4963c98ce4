"""Parsers of the four formats of input; `parse` finds the format from the content."""

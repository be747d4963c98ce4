"""Inference, from raw text to mentions: the cascade of three levels, the bank of names, and the resolver."""

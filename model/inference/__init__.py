"""Raw text to mentions: the three levels as a cascade, the bank of names, and the resolver."""

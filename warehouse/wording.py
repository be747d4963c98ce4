"""How counts are said: a light module, which every message may use."""


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 source`, `2,000 sources`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

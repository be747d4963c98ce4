"""British spellings as MeSH writes them: "ischaemic oedema" is "ischemic edema" there.

MeSH has American preferred names, and British ones among the entry terms of some concepts only.
"""

from __future__ import annotations

import re

_RULES = [
    (re.compile(pattern), american)
    for pattern, american in (
        ("aem", "em"), ("oed", "ed"), (r"\bOed", "Ed"), (r"\boes", "es"), (r"\bOes", "Es"), ("oea", "ea"),
        ("foet", "fet"), ("Foet", "Fet"), (r"\bcoel", "cel"), (r"\bCoel", "Cel"), ("aest", "est"),
        ("naec", "nec"), ("paed", "ped"), ("Paed", "Ped"), ("aecal", "ecal"), ("aecum", "ecum"), ("aetiol", "etiol"),
        ("leucocyt", "leukocyt"), ("Leucocyt", "Leukocyt"), ("leucop", "leukop"), ("Leucop", "Leukop"),
        ("ulph", "ulf"), ("umour", "umor"), ("olour", "olor"), ("abour", "abor"), ("aviour", "avior"),
        (r"ibre(s?)\b", r"iber\1"), ("haeo", "heo"),
    )
]  # fmt: skip


def american(words: str) -> str:
    """Return the words in American spelling; those that have it already are returned as they are."""
    for pattern, spelling in _RULES:
        words = pattern.sub(spelling, words)
    return words

"""The project is written in plain modern English; these words and constructions are banned.

docs/experiment-log.md is exempt: it records the past. `python -m tests.test_prose` lists every hit.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXEMPT = {"docs/experiment-log.md", "tests/test_prose.py"}

# The second value is the replacement.
BANNED: dict[str, tuple[str, str]] = {
    "archaic words": (
        r"\b(anew|thereof|whereof|therein|hence|whence|lest|befall\w*|save for|henceforth|thrice)\b",
        "again, re-",
    ),
    "tell": (r"\b(tells?|told|telling)\b", "report, log, print, return, say which"),
    "stand": (r"\b(stands?|stood)\b", "be, be stored, appear"),
    "books": (r"\bbooks\b", "record counts, reconcile"),
    "goes on": (r"\b(goes|go|went|gone|going) on\b(?! to)", "continue, resume"),
    "taken up": (r"\b(taken?|takes|took|taking) (up|over where)\b", "resume"),
    "is no X": (
        r"\b(is|are|was|were) no (?!longer\b|more\b|less\b|one\b|such\b|other\b|\w+er\b)\w+",
        "is not a (valid) X",
    ),
    "is not there": (r"\b(is|are|was|were) not there\b", "does not exist, is missing"),
    "bears": (r"\b(bears?|bore|bearers?)\b", "have"),
    "carried over": (r"\bcarr(y|ies|ied) over\b", "reused"),
    "at work": (r"\bat work\b", "processing"),
    "superlatives of our own": (r"\b(likest|surest)\b", "nearest, most confident"),
    "misfit": (r"\bmisfits?\b", "invalid annotation"),
    "sightings": (r"\bsightings?\b", "first and last seen"),
    "doubtful": (r"\bdoubtful\b", "low-confidence"),
    "where for if": (
        r"(?:(?<=[,;:.(] )|(?<=\()|(?<=^)|(?<=\bbut )|(?<=\balso )|(?<=\bonly )|(?<=\beven ))where\b",
        "if, when",
    ),
    "mend": (r"\b(mend|mends|mended|mending)\b", "fix, repair"),
    "put right": (r"\bput(s|ting)? (right|in order)\b", "repair"),
    "beside for with": (r"\bbeside\b", "next to, with"),
    "who is at": (r"\bwho(ever)? (is at|names)\b", "name the subject"),
}
ANY = re.compile("|".join(f"(?:{pattern})" for pattern, _ in BANNED.values()))
NAMES = re.compile(
    r"_?(tell|tells|told|books|stands|stand|anew|doubtful|misfits?|bearers?|bears|likest|surest|sightings)"
)
"""Identifiers that use those words."""


def files() -> list[str]:
    """Return every Python and Markdown file of the project."""
    folders = ("flows", "tasks", "model", "warehouse", "defaults", "experiments", "benchmarks", "tests", "docs")
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("e2emern/*.py"),
        *(path for folder in folders for path in (ROOT / folder).rglob("*.*")),
    ]
    names = sorted(path.relative_to(ROOT).as_posix() for path in found if path.suffix in (".py", ".md"))
    return [name for name in names if name not in EXEMPT]


def passages(text: str, tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file with line numbers: Markdown without code, or the comments and strings of Python."""
    if not tokens:
        text = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL)
        yield from enumerate((re.sub(r"`[^`]*`", "``", line) for line in text.split("\n")), start=1)
    for token in tokens:
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.split("\n")):
                yield token.start[0] + offset, re.sub(r"`[^`]*`", "``", line)


def hits(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline)) if name.endswith(".py") else []
    found = [
        f"{name}:{number}: {match[0].strip()!r}, write {instead!r}"
        for number, line in passages(text, tokens)
        if ANY.search(line)
        for pattern, instead in BANNED.values()
        for match in re.finditer(pattern, line)
    ]
    return found + [
        f"{name}:{token.start[0]}: the name {token.string!r}"
        for before, token in pairwise(tokens)  # attributes may be another library's, such as `file.tell`
        if token.type == tokenize.NAME and NAMES.fullmatch(token.string) and before.string != "."
    ]


def test_no_banned_word() -> None:
    assert [hit for name in files() for hit in hits(name)] == []


def test_the_patterns_find_what_they_are_for() -> None:
    for bad in (
        "the table is made anew",
        "what the log tells",
        "it stands twice",
        "its books do not balance",
        "the run goes on",
        "this is no record",
        "the file is not there",
        "a name that two concepts bear",
        "fails, where the disk is full",
    ):
        assert any(re.search(pattern, bad) for pattern, _ in BANNED.values()), bad
    for good in ("it goes on to say", "is no longer used", "the folder where it lives", "Books are records too"):
        assert not any(re.search(pattern, good) for pattern, _ in BANNED.values()), good


def test_the_readme_is_easy_to_read() -> None:
    """At most 20 words a sentence and 4.5 commas per 100 words, code and tables left out."""
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for line in text.split("\n") if not re.match(r"\s*(\||#|<!--|    )", line)]
    prose = re.sub(r"`[^`]*`", "code", " ".join(re.sub(r"^\s*\* ", ". ", line) for line in lines))
    prose = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", prose)
    sentences = [words for part in re.split(r"[.!?:](?:\s|$)", prose) if len(words := part.split()) > 1]
    words = sum(map(len, sentences))
    assert words / len(sentences) <= 20
    assert 100 * prose.count(",") / words <= 4.5


if __name__ == "__main__":
    print("\n".join(hit for name in files() for hit in hits(name)))

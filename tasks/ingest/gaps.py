"""Find gaps in the numbers of PubMed files: NLM numbers the files of a year without gaps.

NLM also publishes counts of records, but for information only: its README.txt names the MD5 as the way to verify a file
(https://ftp.ncbi.nlm.nih.gov/pubmed/). So a file with the right MD5 is complete, and the numbers show missing files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from e2emern.warehouse.layout import CHECKSUMS, Home

_NUMBERED = re.compile(r"(pubmed[0-9]{2}n)([0-9]{4,6})\.xml")


def find_gaps(home: Home, *, dumps: Path | None = None) -> list[str]:
    """Return one line for each run of missing numbers between the PubMed files that are fetched or annotated.

    `dumps` is the folder of fetched files, by default that of the home.
    """
    numbers: dict[str, set[int]] = defaultdict(set)
    for folder in (dumps or home.dumps, home.root / "documents"):
        for path in folder.glob("pubmed*"):
            if (match := _NUMBERED.match(unquote(path.name))) and path.suffix not in CHECKSUMS:
                numbers[match[1]].add(int(match[2]))
    return [
        _line(series, before + 1, after - 1)
        for series, found in sorted(numbers.items())
        for before, after in pairwise(sorted(found))
        if after - before > 1
    ]


def _line(series: str, first: int, last: int) -> str:
    names = f"{series}{first:04}" if first == last else f"{series}{first:04} to {series}{last:04}"
    return f"{names}: missing between the existing files; fetch with e2emern ingest, then annotate"

"""Compares sentence splitters on the gold mentions of the corpora: `python -m benchmarks.sentences`.

A splitter must not cut a mention in two, nor avoid that by joining sentences. So the table has both the mentions that
it cuts and the plain sentence ends that it misses: a lower-case word of four letters or more, a full stop, a space, and
a word such as "The" or "We". Both regular expressions here search for just that, which favours the plain one.
`tasks.sentences` is syntok; the others are only for comparison: `pip install -e ".[bench]"`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from e2emern.model.document import Document
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.sentences import sentence_starts

Splitter = Callable[[str], list[int]]

_PLAIN_END = re.compile(
    r"\b[a-z]{4,}[.?!] (?=(?:The|This|These|We|In|Our|However|It|There|Here|Both|All|After|To|Thus|Results|Patients)\b)"
)


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one splitter; lengths in code points."""

    cut: int
    mentions: int
    missed: int
    documents: int
    lengths: list[int]
    texts_per_second: float  # of processor time

    def row(self) -> str:
        """Return the figures as a line of the table."""
        lengths = sorted(self.lengths)
        return (
            f"{self.cut:5d}{1000 * self.cut / self.mentions:9.2f}{1000 * self.missed / len(lengths):9.2f}"
            f"{len(lengths) / self.documents:11.2f}{sum(lengths) / len(lengths):8.1f}"
            f"{lengths[len(lengths) * 99 // 100]:8d}{lengths[-1]:8d}{self.texts_per_second:10.0f}"
        )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds corpora/")
    data: Path = options.parse_args().data
    files = sorted((data / "corpora").glob("*.PubTator"))
    if not files:
        print(f"{data / 'corpora'}: no *.PubTator file; give the folder with --data", file=sys.stderr)
        return 1
    documents = [record for file in files for record in parse_pubtator(file) if isinstance(record, Document)]
    print(f"{len(documents)} abstracts of {len(files)} files, one thread, texts per second of processor time")
    print(f"{'splitter':16s}  cut  /1,000   missed  sentences    mean     99 %     max   texts/s")
    print(f"{'':16s}      mentions /1,000 s. /abstract  length  length  length")
    for name, splitter in splitters():
        print(f"{name:16s}{score(splitter, documents).row()}", flush=True)
    return 0


def splitters() -> Iterator[tuple[str, Splitter]]:
    """Return the project's splitter, a plain regular expression, and those peers that are installed."""
    yield "e2emern.tasks.sentences", sentence_starts
    plain = re.compile(r"[.!?][\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
    yield "plain regex", lambda text: [0, *(match.end() for match in plain.finditer(text))]
    try:
        import sentencex

        yield "sentencex", lambda text: [s["start_index"] for s in sentencex.get_sentence_boundaries("en", text)]
    except ImportError:
        print("sentencex is not installed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its patterns have invalid escapes
            import pysbd

        pragmatic = pysbd.Segmenter(language="en", clean=False, char_span=True)
        yield "pysbd", lambda text: [s.start for s in pragmatic.segment(text)]
    except ImportError:
        print("pysbd is not installed")


def score(splitter: Splitter, documents: list[Document]) -> Score:
    """Split every passage, time only the splitter, and count cut mentions and missed ends."""
    texts = [(document, passage) for document in documents for passage in document.passages]
    begun = time.process_time()
    split = [splitter(passage.text) for _, passage in texts]
    seconds = time.process_time() - begun
    missed = cut = mentions = 0
    lengths: list[int] = []
    for (document, passage), found in zip(texts, split, strict=True):
        starts = sorted({0, *found})
        lengths += [end - start for start, end in zip(starts, [*starts[1:], len(passage.text)], strict=True)]
        missed += sum(match.end() not in starts for match in _PLAIN_END.finditer(passage.text))
        for gold in document.annotations:
            if passage.offset <= gold.start < passage.end:
                mentions += 1
                cut += any(gold.start < passage.offset + start < gold.end for start in starts)
    return Score(cut, mentions, missed, len(documents), lengths, len(texts) / seconds)


if __name__ == "__main__":
    sys.exit(main())

"""Terminal output: annotated text, tables and the summary of a run.

In colour, a mention is dark text on a light background, readable on dark and light terminals. Without colour (not a
terminal, `NO_COLOR`, a dumb terminal) it is marked as `[words|D012345]`, and nothing is wrapped, so that programs can
read it. `VisibleConsole` shows control characters as U+FFFD, since they could control the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from e2emern.flows.values import records_of, text_of
from e2emern.flows.visible import visible
from e2emern.model.document import Document, Mention, Passage
from e2emern.tasks.exporters.grouping import Span, spans
from e2emern.warehouse.wording import duration, plural

_GROUNDS = {"Disease": "underline #1a1a1a on #ff8a80", "Chemical": "underline2 #1a1a1a on #a8d8ff"}  # one line or two
_OTHER_GROUND = "#1a1a1a on #d9d9d9"
_LABEL = "italic"
_UNBOUNDED = 1_000_000  # columns of a terminal that never wraps
_LEAST = 16  # minimum width of a column whose text is cut
_PROVENANCE = ("text_sha256", "digest", "model_version", "mesh_version", "record", "source")


class VisibleConsole(Console):
    """A console for standard output or standard error that makes control characters visible.

    Pass foreign text through `visible` before it becomes a `Text`, which drops some control characters.
    """

    def __init__(self, **options: Any) -> None:
        """Print to standard output, with `stderr` to standard error; the options are those of `Console`."""
        stream = sys.stderr if options.get("stderr") else sys.stdout
        options.setdefault("file", getattr(stream, "stream", stream))
        super().__init__(**options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return the segments of a renderable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def write(self, data: str) -> int:
        """Write data for a program unchanged, unless it reaches a terminal; `csv.writer` calls it."""
        return self.file.write(visible(data) if self.file.isatty() else data)


@dataclass(frozen=True, slots=True)
class Level:
    """The work of one level of the cascade: `Level("low", "spans found", 512, seconds=1.5)`."""

    name: str
    did: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run; `failures` are records and annotations that could not be used, `seconds` wall-clock time."""

    documents: int
    mentions: int
    concepts: int
    failures: int
    seconds: float
    levels: Sequence[Level] = ()


def show_document(document: Document, mentions: Iterable[Mention], *, console: Console) -> None:
    """Print the id of a document, and its passages as `show_passages` does."""
    console.print(Text(visible(document.document_id), style="bold"), soft_wrap=is_plain(console))
    show_passages(document.passages, mentions, console=console)


def show_passages(passages: Iterable[Passage], mentions: Iterable[Mention], *, console: Console) -> None:
    """Print passages with their mentions marked, one passage on each line.

    In colour, the concept's id follows the mention; so does its name, the first time.
    """
    marked = list(spans(mentions))
    named: set[str] = set()
    for passage in passages:
        inside = [span for span in marked if passage.offset <= span.start and span.end <= passage.end]
        text = _marked(visible(passage.text), passage.offset, inside, named, plain=is_plain(console))
        console.print(text, soft_wrap=is_plain(console))


def show_line(line: str, *, console: Console) -> None:
    """Print a text as one line without markup or wrapping; line ends in it become spaces."""
    console.print(visible(" ".join(line.split("\n"))), markup=False, highlight=False, soft_wrap=True)


def show_table(
    rows: pa.Table | Sequence[Mapping[str, Any]], *, console: Console, advice: str = "widen the terminal"
) -> None:
    """Print rows under their column names, with numbers aligned to the right; print nothing without columns.

    On a terminal each row takes one line. Long texts are cut with an ellipsis, but numbers and codes are not. Columns
    that do not fit are left out, and a line lists them with `advice`. If the output is not a terminal, nothing is cut.
    """
    names = rows.column_names if isinstance(rows, pa.Table) else list(rows[0]) if rows else []
    records = records_of(rows) if isinstance(rows, pa.Table) else rows
    values = {name: [record[name] for record in records] for name in names}
    cells = {name: [visible(text_of(value)) for value in column] for name, column in values.items()}
    widths: dict[str, int] = {}
    if console.is_terminal and not console.is_dumb_terminal:
        cells = {name: [" ".join(cell.split("\n")) for cell in column] for name, column in cells.items()}
        texts = {name for name, column in values.items() if any(" " in text_of(each) for each in column if _long(each))}
        widths = fit_columns(cells, texts=texts, width=console.width)
    table = Table(box=box.ASCII2 if is_plain(console) else box.SIMPLE_HEAD, header_style="bold")
    shown = list(widths) or names
    for name in shown:
        known = [value for value in values[name] if value is not None]
        justify: Literal["left", "right"] = (
            "right" if known and all(isinstance(v, int | float) for v in known) else "left"
        )
        header = Text(visible(name))
        table.add_column(header, justify=justify, overflow="ellipsis", no_wrap=bool(widths), width=widths.get(name))
    for row in zip(*(cells[name] for name in shown), strict=True):
        table.add_row(*map(Text, row))
    if shown:
        unbounded = VisibleConsole(file=console.file, width=_UNBOUNDED, color_system=None)
        (console if widths and _width(widths) <= console.width else unbounded).print(table)
    if left_out := [name for name in names if name not in shown]:
        show_line(f"{plural(len(left_out), 'column')} not shown: {', '.join(left_out)}; {advice}", console=console)


def fit_columns(cells: Mapping[str, Sequence[str]], *, texts: Set[str], width: int) -> dict[str, int]:
    """Return the widths of the columns that fit into a terminal of `width` characters; at least one column is kept.

    Only the columns in `texts` may be narrower than their content. If not all columns fit, provenance columns are left
    out first, then columns from the right.
    """
    whole = {name: max(cell_len(text) for text in (visible(name), *column)) for name, column in cells.items()}
    kept = {
        name: max(cell_len(visible(name)), min(whole[name], _LEAST)) if name in texts else whole[name] for name in cells
    }
    order = [name for name in _PROVENANCE if name in cells]
    order += [name for name in reversed(kept) if name not in order]
    for name in order[:-1]:
        if _width(kept) > width:
            del kept[name]
    while (room := width - _width(kept)) > 0 and (narrow := [name for name in kept if kept[name] < whole[name]]):
        for name in narrow[:room]:
            kept[name] += 1
    return kept


def _long(value: object) -> bool:
    """Return whether a value may be a long text; numbers, dates and times are not."""
    return isinstance(value, str | list | tuple | dict)


def _width(columns: Mapping[str, int]) -> int:
    """Return the width of a table with these column widths, including the separators."""
    return sum(columns.values()) + 3 * len(columns) + 1


def show_summary(summary: Summary, *, console: Console) -> None:
    """Print the counts of a run, its rate, and the count and time of each level."""
    rate = summary.documents / summary.seconds if summary.seconds else 0.0
    counts = (
        f"{plural(summary.documents, 'document')}, {plural(summary.mentions, 'mention')} "
        f"of {plural(summary.concepts, 'concept')}, {plural(summary.failures, 'failure')} "
        f"in {duration(summary.seconds)} ({rate:,.1f} documents/s)"
    )
    lines = [Text(counts, style="bold")]
    name_width = max((len(level.name) for level in summary.levels), default=0)
    count_width = max((len(f"{level.count:,}") for level in summary.levels), default=0)
    did_width = max((len(level.did) for level in summary.levels), default=0)
    for level in summary.levels:
        count = f"{level.count:>{count_width},}"
        lines.append(Text(f"  {level.name:<{name_width}}  {count} {level.did:<{did_width}}  {duration(level.seconds)}"))
    for line in lines:
        console.print(line, soft_wrap=True)


def _marked(text: str, offset: int, marked: list[Span], named: set[str], *, plain: bool) -> Text:
    """Return `text`, which starts at `offset`, with the spans marked; nested and crossing spans keep their ends."""
    edges = sorted({0, len(text), *(edge - offset for span in marked for edge in (span.start, span.end))})
    out = Text()
    for start, end in zip(edges, [*edges[1:], len(text)], strict=True):
        closing = sorted((span for span in marked if span.end - offset == start), key=lambda span: -span.start)
        for span in closing:
            out.append(*_label(span, named, plain=plain))
        opening = sum(span.start - offset == start for span in marked)
        out.append("[" * opening if plain else "")
        inside = [span for span in marked if span.start - offset <= start and end <= span.end - offset]
        innermost = min(inside, key=lambda span: span.end - span.start, default=None)
        ground = _GROUNDS.get(innermost.entity_type, _OTHER_GROUND) if innermost and not plain else ""
        out.append(text[start:end], ground)
    return out


def _label(span: Span, named: set[str], *, plain: bool) -> tuple[str, str]:
    ids = [mention.mesh_id or "-" for mention in span.mentions]
    if plain:
        return "|" + "|".join(ids) + "]", ""
    labels = []
    for concept, mention in zip(ids, span.mentions, strict=True):
        labels.append(concept if concept in named or not mention.mesh_name else f"{concept} {mention.mesh_name}")
        named.add(concept)
    return visible(" " + ", ".join(labels)), _LABEL


def is_plain(console: Console) -> bool:
    """Return whether a console takes plain lines only: it is not a terminal, or it has no colour."""
    return console.no_color or console.color_system is None

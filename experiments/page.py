"""The page of the results, docs/results.md: written from the results alone, including the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from experiments.attention import Attention, draw
from experiments.results import MEAN
from experiments.rows import CLAIMS, OURS, ROWS, Claim

Gains = Mapping[tuple[str, ...], Mapping[str, float]]  # (better, worse, protocol, slice, corpus, type) to the gain
Means = Mapping[tuple[str, ...], Mapping[str, Any]]  # (row, protocol, slice, corpus, type) to mean and range

_PROTOCOLS = {
    "ner": "Recognition: `ner`, strict F1 from raw text",
    "link": "Normalisation of gold spans: `link`, accuracy@1",
    "recall@1 mid": "The mid level alone: accuracy@1 of gold spans if only its score ranks the candidates",
    "recall@1 high": "The high level alone: the same",
    "mention": "End to end: `mention`, F1 of spans with their concept, from raw text",
    "document": "End to end: `document`, F1 of the distinct concepts of a document, from raw text",
    "paper": "The paper's own protocol: `paper`, F1 of the high level, **gold entities given**",
}


def write_page(results: Mapping[str, Any]) -> str:
    """Return the page for the results in `results.json`."""
    gains: Gains = {
        (g["better"], g["worse"], g["protocol"], g["slice"], g["corpus"], g["entity_type"]): g for g in results["gains"]
    }
    means: Means = {(m["row"], m["protocol"], m["slice"], m["corpus"], m["entity_type"]): m for m in results["rows"]}
    rows = [row for row in ROWS if any(m["row"] == row for m in results["rows"])]
    lines = ["# The paper's tables on our encoder", "", *_about(results["made_from"], results["runs"])]
    lines += ["", _COMMANDS.format(budget=results["made_from"]["budget"]["name"])]
    lines += ["", "## Claims", "", *_claims(gains)]
    lines += ["", "## Rows", "", *(f"* `{row}`: {ROWS[row].about}{_fewer(row, results['runs'])}" for row in rows)]
    missing = [f"`{row}`" for row in ROWS if row not in rows]
    if missing and OURS in rows:  # else these are only some rows, not the table
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    for protocol, title in _PROTOCOLS.items():
        if any(key[1] == protocol for key in means):
            lines += ["", f"## {title}", "", *_table(protocol, "all", rows, means, gains)]
            if protocol == "paper":
                lines += ["", _GIVEN]
    lines += ["", "## Seen and unseen (the paper's Figure 4)", "", *_unseen(results["unseen"])]
    for part in ("string seen", "string unseen"):
        lines += ["", f"`ner` F1 of mentions whose words are {part.removeprefix('string ')} in training:", ""]
        lines += _table("ner", part, rows, means, gains)
    if results["attention"]:
        lines += ["", "## Attention per word (the paper's Table 3)", "", _DRAWN, "", *_attention(results["attention"])]
    return "\n".join(lines) + "\n"


_COMMANDS = """\
```sh
.venv/bin/pip install --editable '.[train]'    # the encoder
e2emern corpus ncbi-disease/train=NCBItrainset_corpus.txt ncbi-disease/dev=NCBIdevelopset_corpus.txt \\
    bc5cdr/train=CDR_TrainingSet.PubTator.txt bc5cdr/dev=CDR_DevelopmentSet.PubTator.txt \\
    --annotates ncbi-disease=Disease --output corpus.parquet
python -m experiments --corpus corpus.parquet --budget {budget}                        # everything unfinished
python -m experiments --corpus corpus.parquet --budget {budget} --row printed --again  # repeat one row
```"""
_GIVEN = (
    "For each sentence, a system is given the concepts that the gold has there, and as many wrong ones. Real text "
    "comes without\ngold entities, so this protocol says nothing about how well a system annotates. Systems without "
    "a high level have no figure."
)
_DRAWN = (
    "The sentences are invented; the models are those of seed 0. The height of a bar is the weight of the word "
    "relative to the\nhighest weight in its row. An attention that does not depend on the entity gives both entities "
    "the same bars."
)


def _about(made_from: Mapping[str, Any], runs: list[Mapping[str, Any]]) -> Iterator[str]:
    budget, data, encoder = made_from["budget"], made_from["data"], made_from["encoder"]
    seeds = sorted({run["seed"] for run in runs})
    documents = "; ".join(
        f"{corpus} {parts['train']} to train on, {parts['tune']} to tune on, {parts['dev']} of dev to score"
        for corpus, parts in data["documents"].items()
    )
    several = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
    yield f"Written by `python -m experiments` from `experiments/results.json`: budget `{budget['name']}`, {several}."
    yield ""
    yield f"* **Encoder**: every row starts from {encoder['name']}; {budget['epochs']} epochs."
    yield f"* **Documents**: {documents}. Those to tune on are held out of train; dev serves only to score."
    yield (
        f"* **Vocabulary**: {data['concepts']:,} concepts, {data['names']:,} names of MeSH {data['mesh_version']}"
        + (f": those that the documents mention, and {budget['concepts']:,} others." if budget["concepts"] else ".")
    )
    if commits := Counter(run["commit"] for run in runs if run["commit"]):
        code = [f"`{commit}`" + ("" if count == len(runs) else f" ({count} runs)") for commit, count in commits.items()]
        yield f"* **Code**: commit {', '.join(code)}."
    yield (
        "* **Figures**: per cent; mean of the seeds, and their range. `gain` is the gain of our system"
        " over the row,\n  with the 95 % interval of a paired bootstrap over documents, pooled over the seeds that both"
        " have; **bold** if it excludes zero."
    )
    if budget["concepts"] or budget["documents"]:
        yield (
            "* **Caution**: these runs use only a part of the data and of the vocabulary. Compare the rows with each"
            " other, not with\n  the bundled model or with tables elsewhere."
        )


def _fewer(row: str, runs: list[Mapping[str, Any]]) -> str:
    """Return the seeds of a row if other rows were run with more."""
    seeds = [run["seed"] for run in runs if run["row"] == row]
    if not ROWS[row].is_random or len(seeds) == len({run["seed"] for run in runs}):
        return ""
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} alone)"


def _claims(gains: Gains) -> Iterator[str]:
    """Yield the verdicts on the claims, first in a sentence and then one by one."""
    tested = {
        claim: gains[key]
        for claim in CLAIMS
        if (key := (claim.better, claim.worse, claim.protocol, claim.slice, MEAN, MEAN)) in gains
    }
    if not tested:
        yield "Ours has not been run with another row."
        return
    hold = sum(found["low"] > 0 for found in tested.values())
    fail = sum(found["high"] < 0 for found in tested.values())
    neither = len(tested) - hold - fail
    verdicts = f"{hold} confirmed, {fail} contradicted, {neither} not shown either way"
    yield f"Of {len(tested)} claims that these rows test: {verdicts}."
    if any(claim.is_ours for claim in tested):
        yield "All are claims of the paper, except for the one marked as ours."
    yield ""
    yield "| claim | row | compared with | protocol | gain in the paper, NCBI and BC5CDR | mean gain here | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for claim, found in tested.items():
        where = f"`{claim.protocol}`" + ("" if claim.slice == "all" else f", {claim.slice}")
        rows = f"`{claim.better}` | `{claim.worse}`"
        yield f"| {claim.says} | {rows} | {where} | {claim.paper} | {_gain(found)} | {_verdict(claim, found)} |"


def _verdict(claim: Claim, found: Mapping[str, float]) -> str:
    if found["low"] > 0:
        return "holds"
    if found["high"] < 0:
        return f"**does not hold**: `{claim.worse}` is better"
    return "**not shown**: no difference beyond chance"


def _table(protocol: str, part: str, rows: list[str], means: Means, gains: Gains) -> Iterator[str]:
    places = sorted(
        {key[3:] for key in means if key[1:3] == (protocol, part)}, key=lambda place: (place[0] == MEAN, place)
    )
    yield f"| row | {' | '.join(corpus if corpus == MEAN else f'{corpus} {kind}' for corpus, kind in places)} | gain |"
    yield "|---" * (len(places) + 2) + "|"
    for row in rows:
        cells = [means.get((row, protocol, part, *place)) for place in places]
        if any(cells):
            gain = gains.get((OURS, row, protocol, part, MEAN, MEAN))
            shown = [_mean(cell) if cell else "" for cell in cells]
            yield f"| `{row}` | {' | '.join(shown)} | {_gain(gain) if gain else ''} |"


def _mean(cell: Mapping[str, float]) -> str:
    if cell["seeds"] == 1:
        return f"{100 * cell['mean']:.1f}"
    return f"{100 * cell['mean']:.1f} ({100 * cell['least']:.1f} to {100 * cell['greatest']:.1f})"


def _gain(found: Mapping[str, float]) -> str:
    text = f"{100 * found['gain']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def _unseen(shares: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield "| dev sentences with | " + " | ".join(shares) + " |"
    yield "|---" * (len(shares) + 1) + "|"
    for what, name in (("mention", "a mention unseen in training"), ("word or mention", "an unseen word or mention")):
        yield f"| {name} | " + " | ".join(f"{100 * each[what]:.1f} %" for each in shares.values()) + " |"


def _attention(found: list[Mapping[str, Any]]) -> Iterator[str]:
    drawn = [Attention.of(each) for each in found]
    drawn.sort(key=lambda each: each.words)
    for _, same in groupby(drawn, key=lambda each: each.words):
        yield from ("```text", draw(list(same)), "```", "")
    blind = [row for row in dict.fromkeys(each.row for each in drawn) if _is_blind(drawn, row)]
    sees = [row for row in dict.fromkeys(each.row for each in drawn) if row not in blind]
    for rows, what in ((blind, "the same bars for every entity"), (sees, "different bars for different entities")):
        if rows:
            yield f"{', '.join(f'`{row}`' for row in rows)}: {what}."


def _is_blind(drawn: list[Attention], row: str) -> bool:
    mine = [each for each in drawn if each.row == row]
    return len({each.words for each in mine}) == len({(each.words, each.weights) for each in mine}) < len(mine)

"""The rows of the tables, and the claims of the paper (Zhou et al., ACL 2021) that they test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS = "progressive"


@dataclass(frozen=True, slots=True)
class Row:
    """One system of the tables.

    Attributes:
        system: its kind of system (`experiments.systems`): cascade, pipeline, low, tf-idf or dictionary.
        about: its description, for the page.
        recipe: its changes to the recipe (`model.training.recipe`); None if nothing is trained.
    """

    system: str
    about: str
    recipe: Mapping[str, Any] | None = field(default_factory=dict)

    @property
    def is_random(self) -> bool:
        """Whether the seed matters."""
        return self.system != "dictionary"


_LOW: dict[str, Any] = {"use_mid": False, "use_high": False, "candidate_weight": 0.0}

ROWS: Mapping[str, Row] = {
    "dictionary": Row("dictionary", "baseline: the longest names of the vocabulary in the text", None),
    "low": Row(
        "low", "baseline: the low level alone (the paper's BioBERT row), and its spans looked up among the names", _LOW
    ),
    "tf-idf": Row("tf-idf", "baseline: the same spans; nearest name by TF-IDF of letter trigrams (after DNorm)", None),
    "pipeline": Row(
        "pipeline",
        "framework: one encoder recognises (`low`), another is trained only to link",
        {"use_mid": False, "use_high": False, "low_weight": 0.0},
    ),
    "parallel": Row(
        "cascade",
        "framework: one encoder, one head for spans and one that compares mentions with concepts",
        {"use_mid": False, "use_high": False},
    ),
    OURS: Row("cascade", "framework: ours, three levels, bilinear attention, candidate loss"),
    "without-candidates": Row("cascade", "attention: bilinear, without our candidate loss", {"candidate_weight": 0.0}),
    "released": Row(
        "cascade", "attention: as in the authors' released code (no candidate loss)", {"attention": "released"}
    ),
    "printed": Row("cascade", "attention: as printed in the paper (no candidate loss)", {"attention": "printed"}),
    "without-attention": Row(
        "cascade", "ablation: the mean of all tokens (no candidate loss)", {"attention": "uniform"}
    ),
    "without-mid": Row("cascade", "ablation: no mid level", {"use_mid": False}),
    "without-high": Row("cascade", "ablation: no high level", {"use_high": False}),
    "without-gate": Row("cascade", "ablation: concatenation in place of the gate", {"fusion": "concatenation"}),
    "bioes": Row("cascade", "variant: tags that also mark the ends of mentions (BIOES)", {"tag_scheme": "BIOES"}),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed gain of one system over another, and the figure that tests it here.

    Attributes:
        paper: the gain that the paper prints, in points of F1 on NCBI and BC5CDR; empty if it prints none.
        is_ours: whether the claim is ours and not one of the paper.
    """

    says: str
    better: str
    worse: str
    protocol: str
    slice: str = "all"
    paper: str = ""
    is_ours: bool = False


CLAIMS = (
    Claim("three levels recognise better than the low level alone", OURS, "low", "ner", paper="+1.8, +1.5"),
    Claim("three levels gain above all on mentions unseen in training", OURS, "low", "ner", "string unseen"),
    Claim("the mid level helps recognition", OURS, "without-mid", "ner", paper="+4.2, +1.0"),
    Claim("the high level helps recognition", OURS, "without-high", "ner", paper="+2.9, +1.1"),
    Claim("the gate helps recognition", OURS, "without-gate", "ner", paper="+2.7, +0.8"),
    Claim("attention helps recognition", "printed", "without-attention", "ner", paper="+3.8, +0.8"),
    Claim("the mid level helps normalisation", OURS, "without-mid", "paper", paper="+0.1, +3.7"),
    Claim("the gate helps normalisation", OURS, "without-gate", "paper", paper="+6.8, +2.8"),
    Claim("attention helps normalisation", "printed", "without-attention", "paper", paper="+2.3, +2.9"),
    Claim(
        "ours: bilinear attention helps normalisation",
        "without-candidates",
        "without-attention",
        "paper",
        is_ours=True,
    ),
    Claim("progressive beats a pipeline, end to end", OURS, "pipeline", "document"),
    Claim("progressive beats parallel tasks, end to end", OURS, "parallel", "document"),
    Claim("the mid level helps end to end", OURS, "without-mid", "document"),
    Claim("the high level helps end to end", OURS, "without-high", "document"),
)

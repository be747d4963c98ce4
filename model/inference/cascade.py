"""Inference without gold entities: the three levels as the stages of a cascade.

    low      encodes every sentence once; its tags give spans, which are made consistent within a document
    mid      searches the whole entity bank for the candidates of each span, and scores them
    high     scores how well the span's words fit each candidate
    resolve  weighs the evidence, and links the span to one candidate or to none

The encoder never reads a sentence and an entity together: the bank holds the encoded names. Batches hold windows of
similar length within a budget of word pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Mention, Text
from e2emern.model.inference.bank import EntityBank, make_bank
from e2emern.model.inference.boundaries import settle_boundaries
from e2emern.model.inference.candidates import CandidateSearch
from e2emern.model.inference.consistency import agree
from e2emern.model.inference.features import LEAST_CONFIDENCE, features_of, none_features_of
from e2emern.model.inference.grouping import Group, Span, appositions, group_spans, with_plurals
from e2emern.model.inference.levels import Levels
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.inference.resolver import Resolver
from e2emern.model.inference.spans import Given, given_spans, tagged_spans, with_listed
from e2emern.model.inference.timings import Report
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_batch
from e2emern.model.pretrained import load_model
from e2emern.model.progress import Progress, silent
from e2emern.model.tagging import WordSpan, find_word_spans
from e2emern.model.tokenization import Window, batches_of, longest_window, make_windows, pad
from e2emern.model.version import encoder_digest
from e2emern.model.vocabulary import Vocabulary

RECALL_BIAS = 2.0  # log-odds by which O is made less probable to find low-confidence spans; chosen on dev


@dataclass(frozen=True, slots=True)
class Linked:
    """The spans of a batch of documents after all levels, with the evidence that the resolver weighs."""

    spans: list[Span]
    groups: list[Group]
    features: list[np.ndarray]  # one table a group


@dataclass(eq=False, repr=False)
class Cascade:
    """A model, its vocabulary and its bank, ready to annotate.

    Attributes:
        model: in evaluation mode, on its device, in the precision to run in.
        selection: bool (concepts,), the concepts that may be linked to (see `Vocabulary.select`); None for all.
        tokens: word pieces in one batch; 0 for the fastest number on the device.
        least_link: probability that a link of a given span must have.
    """

    model: E2emernModel
    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    bank: EntityBank
    model_version: str
    selection: np.ndarray | None = None
    tokens: int = 0
    least_link: float = 0.0

    def __post_init__(self) -> None:
        stored = self.model.config.resolver
        self.resolver = Resolver.from_dict(stored) if stored else Resolver.unfitted()
        self.tokens = self.tokens or fastest_batch(str(self.model.device))
        self.candidates = CandidateSearch(
            model=self.model, tokenizer=self.tokenizer, vocabulary=self.vocabulary, bank=self.bank, tokens=self.tokens
        )
        self.levels = Levels(model=self.model, bank=self.bank, tokens=self.tokens)
        self.listed = ListedNames(self.vocabulary)
        self.span_threshold: float = self.model.config.span_threshold
        # A low-confidence span is kept only if it is linked, by a resolver that was fitted to refuse.
        self.recall_bias = RECALL_BIAS if stored else 0.0
        self.max_pieces = longest_window(self.model.encoder)

    @property
    def mesh_version(self) -> str:
        """Return the version of the vocabulary."""
        return self.vocabulary.version

    @torch.inference_mode()
    def annotate(self, texts: Sequence[Text], *, given: Given | None = None) -> tuple[list[list[Mention]], Report]:
        """Return the mentions of each text, ordered by start, and a report of the levels.

        With `given` spans, link those and search for no others; a span without any word is left out.
        """
        report = Report(sentences=sum(len(text.sentences) for text in texts))
        with report.timed("low"):
            windows, hidden, spans = self.find_spans(texts, given=given)
        linked = self.link(texts, windows, hidden, spans, report)
        with report.timed("resolve"):
            mentions = self.resolve(linked, windows, len(texts), given=given is not None)
        report.spans_found = len(spans)
        report.mentions_linked = sum(mention.mesh_id is not None for found in mentions for mention in found)
        return mentions, report

    def find_spans(
        self, texts: Sequence[Text], *, given: Given | None = None
    ) -> tuple[list[Window], list[Tensor], list[Span]]:
        """Run the low level: encode every sentence once, and return the windows, H of each, and the spans.

        With `given` spans, take those unchanged and decode no tags; a span that several windows share belongs to the
        first.
        """
        windows, hidden, spans = self.read_spans(texts, given=given)
        if given is None:
            spans = self.agree(texts, windows, spans)
        return windows, hidden, spans

    def read_spans(
        self, texts: Sequence[Text], *, given: Given | None = None
    ) -> tuple[list[Window], list[Tensor], list[Span]]:
        """Return what `find_spans` does, before the spans of a document are made consistent.

        Listed names are among them if the resolver was fitted to refuse.
        """
        windows = make_windows((text.sentences for text in texts), tokenizer=self.tokenizer, max_pieces=self.max_pieces)
        hidden: list[Tensor] = [torch.empty(0)] * len(windows)
        found: list[list[WordSpan]] = [[] for _ in windows]
        probabilities: list[np.ndarray] = [np.empty(0)] * len(windows)
        for batch in batches_of([len(window) for window in windows], tokens=self.tokens):
            group = [windows[at] for at in batch]
            ids, mask = pad([window.ids for window in group], padding=self.tokenizer.pad_token_id)
            states = self.model.encode(ids.to(self.model.device), mask.to(self.model.device))
            tagged = self._read_tags(states, group) if given is None else None
            for row, at in enumerate(batch.tolist()):
                hidden[at] = states[row, : len(windows[at])]
                if tagged is not None:
                    found[at], probabilities[at] = tagged[0][row], tagged[1][row]
        if given is not None:
            return windows, hidden, given_spans(windows, given, texts=[text.text for text in texts])
        sentences = [[sentence.text for sentence in text.sentences] for text in texts]
        spans = tagged_spans(found, windows=windows, sentences=sentences)
        if self.recall_bias:
            spans = with_listed(
                spans,
                listed=self.listed,
                probabilities=probabilities,
                windows=windows,
                sentences=sentences,
                tags=self.model.config.tags,
            )
        return windows, hidden, spans

    def agree(self, texts: Sequence[Text], windows: list[Window], spans: list[Span]) -> list[Span]:
        """Return the spans that remain after their boundaries are corrected and each document is made consistent."""
        sentences = [[sentence.text for sentence in text.sentences] for text in texts]
        settled = settle_boundaries(spans, windows=windows, sentences=sentences, vocabulary=self.vocabulary)
        return agree(
            settled,
            windows=windows,
            sentences=sentences,
            abbreviations=self._explained(texts, settled, across_types=True),
            threshold=LEAST_CONFIDENCE if self.recall_bias else self.span_threshold,
        )

    def _read_tags(self, hidden: Tensor, windows: list[Window]) -> tuple[list[list[WordSpan]], list[np.ndarray]]:
        """Return the spans and the probabilities of the tags (words, L) of each window.

        The tags of a word are those of its first piece.
        """
        words = np.array([len(window.first) for window in windows])
        first = np.zeros((len(windows), int(words.max())), np.int64)
        for row, window in enumerate(windows):
            first[row, : words[row]] = window.first
        picked = hidden[torch.arange(len(windows))[:, None], torch.from_numpy(first)]
        logged = self.model.low(picked).float().log_softmax(-1).cpu().numpy()
        found = find_word_spans(logged, words, tags=self.model.config.tags, recall_bias=self.recall_bias)
        return found, [np.exp(logged[row, :count]) for row, count in enumerate(words)]

    def link(
        self, texts: Sequence[Text], windows: list[Window], hidden: list[Tensor], spans: list[Span], report: Report
    ) -> Linked:
        """Run the mid and high levels: give each group of spans its candidates, and score them."""
        groups = self.group(texts, spans)
        with report.timed("candidates"):
            self.candidates.fill(groups, spans, windows, hidden)
        report.candidates_scored += sum(len(group.concepts) for group in groups)
        self.levels.score(groups, spans, windows, hidden, report)
        prior = self.resolver.prior
        return Linked(spans, groups, [features_of(group, vocabulary=self.vocabulary, prior=prior) for group in groups])

    def group(self, texts: Sequence[Text], spans: Sequence[Span]) -> list[Group]:
        """Return the groups of spans that are linked as one, without candidates."""
        return group_spans(
            spans,
            abbreviations=self._explained(texts, spans),
            vocabulary=self.vocabulary,
            strings=self.resolver.strings,
        )

    def _explained(
        self, texts: Sequence[Text], spans: Sequence[Span], *, across_types: bool = False
    ) -> list[dict[str, str]]:
        """Return short form to long form for each document: its abbreviations, and names in brackets after a name.

        A name that ends with the abbreviation's long form replaces it: of "thrombotic thrombocytopenic purpura (TTP)"
        the algorithm of Schwartz and Hearst takes two words.
        """
        whole = [text.text for text in texts]
        apposed = appositions(spans, texts=whole, vocabulary=self.vocabulary, across_types=across_types)
        words: list[set[str]] = [set() for _ in texts]
        for span in spans:
            words[span.document].add(span.text)
        explained = []
        for text, named, mine in zip(texts, apposed, words, strict=True):
            fuller = {short: long for short, long in named.items() if long.endswith(text.abbreviations.get(short, ""))}
            explained.append(with_plurals(dict(text.abbreviations) | fuller, mine))
        return explained

    def resolve(
        self, linked: Linked, windows: list[Window], documents: int, *, given: bool = False
    ) -> list[list[Mention]]:
        """Weigh the evidence, and return the mentions of each document, ordered by start.

        A span gives one mention for each concept it is linked to, or else one without a concept. A low-confidence span
        that is not linked is left out.

        Args:
            given: the spans are known to be mentions.
        """
        mentions: list[dict[tuple[int, int, str, str | None], Mention]] = [{} for _ in range(documents)]
        linked_places = set()
        for group, features in zip(linked.groups, linked.features, strict=True):
            ner = max(linked.spans[at].score for at in group.spans)
            none = None if given else none_features_of(group, ner=ner)
            choice = self.resolver.resolve(features, none_features=none)
            if choice is not None and given and choice[1] < self.least_link:
                choice = None
            if choice is not None and self.selection is not None and not self.selection[group.concepts[choice[0]]]:
                choice = None
            place, score = choice if choice is not None else (None, None)
            concept = None if place is None else self.vocabulary.concepts[int(group.concepts[place])]
            evidence = None if place is None else self.resolver.evidence(features, place)
            if concept is None and ner < self.span_threshold:
                continue
            for at in group.spans:
                span = linked.spans[at]
                mesh_id = None if concept is None else concept.mesh_id
                if concept is not None:
                    linked_places.add((span.document, span.start, span.end, span.entity_type))
                mentions[span.document][span.start, span.end, span.entity_type, mesh_id] = Mention(
                    start=span.start,
                    end=span.end,
                    text=span.text,
                    entity_type=span.entity_type,
                    sentence=windows[span.window].sentence,
                    ner_score=span.score,
                    mesh_id=mesh_id,
                    mesh_name=None if concept is None else concept.name,
                    mid_score=None if place is None else _sigmoid(float(group.mid[place])),
                    high_score=None if place is None else float(np.exp(group.high[place])),
                    link_score=score,
                    how=evidence,
                )
        return [
            sorted(
                (
                    mention
                    for (start, end, kind, mesh_id), mention in found.items()
                    if mesh_id is not None or (document, start, end, kind) not in linked_places
                ),
                key=lambda mention: (mention.start, mention.end),
            )
            for document, found in enumerate(mentions)
        ]


def load_cascade(
    folder: Path,
    *,
    mesh: Path,
    banks: Path,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    fitted: bool = True,
    progress: Progress = silent,
) -> Cascade:
    """Load a model folder and a vocabulary; read the bank from the model folder or `banks`, or build it.

    Args:
        mesh: entities table.
        banks: folder that keeps a bank that is built here.
        dtype: of the weights; by default the fastest of the device.
        fitted: use the resolver of the configuration; if false, one that is still to be fitted.

    Raises:
        ValueError: the folder is not an e2emern model, or its resolver is of another version.
    """
    vocabulary = Vocabulary.read(mesh)
    model, tokenizer, version = load_model(folder, device=device, dtype=dtype)
    if not fitted:
        model.config.resolver = None
    encoder = encoder_digest(folder)
    kept = banks / f"{encoder}.{vocabulary.digest}.safetensors"
    bank = None
    for place in (folder / "bank.safetensors", kept):
        bank = bank or EntityBank.load(place, encoder=encoder, vocabulary=vocabulary)
    if bank is None:
        bank = make_bank(kept, model, vocabulary, tokenizer=tokenizer, encoder=encoder, progress=progress)
    return Cascade(model, tokenizer=tokenizer, vocabulary=vocabulary, bank=bank.to(device), model_version=version)


def _sigmoid(logit: float) -> float:
    return 1 / (1 + float(np.exp(-logit)))

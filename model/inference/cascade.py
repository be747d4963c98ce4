"""Inference without gold entities: the three levels as the stages of a cascade.

    low      every sentence is encoded once; its tags give spans, which the document makes agree
    mid      each span's words are searched for in the whole entity bank; the mid level scores the best
    high     the high level says which of the sentence's words stand for each of them
    resolve  the evidence is weighed, and the span gets one concept or none

The encoder never sees an entity: names were encoded before, in the bank. Batches hold windows of like
length within a budget of word pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..document import Mention, Sentence, Text
from ..folder import load_model
from ..network import Attended, BilinearAttention, E2emernModel
from ..pieces import Window, batches_of, longest_window, make_windows, pad
from ..precision import fastest_batch
from ..progress import Progress, silent
from ..spans import WordSpan, find_word_spans, tag_mention
from ..version import weights_digest
from ..vocabulary import Vocabulary, normalise
from .agreement import agree
from .bank import EntityBank, encode_names, make_bank
from .boundaries import settle_boundaries
from .linking import Group, Span, appositions, bears_marks, features_of, group_spans, marks_of, with_plurals
from .report import Report
from .resolver import Resolver

CANDIDATES = 12  # concepts that each group of spans is given
SECOND_LOOK = 2.0  # log-odds by which O is held back where doubtful spans are looked for; chosen on dev
LEAST_DOUBTFUL = 0.05  # probability of a span, at its best place in the document, that may be linked
REMEMBERED_NAMES = 50_000  # encoded words that are kept for the next documents: 77 MB at 384 dimensions


@dataclass(frozen=True, slots=True)
class Linked:
    """The spans of a batch of documents after all levels, with everything the resolver weighs."""

    spans: list[Span]
    groups: list[Group]
    features: list[np.ndarray]  # one table a group


@dataclass(frozen=True, slots=True)
class Found:
    """What the sources found for a group: concepts, best first, and what the bank was asked with, (D,) each."""

    group: Group
    context: Tensor
    name: Tensor
    exact: list[int]
    by_name: list[int]
    by_context: list[int]

    def united(self, k: int) -> list[int]:
        """Concepts that bear the words, then two of the best for the words to one for their sentences; k at most.

        Beside them those that the words end with the name of.
        """
        turns = zip_longest(self.by_name[::2], self.by_name[1::2], self.by_context)
        ranked = [concept for turn in turns for concept in turn if concept is not None]
        first = list(dict.fromkeys([*self.exact, *ranked]))[:k]
        return list(dict.fromkeys([*first, *self.group.heads]))


class Cascade:
    """A model, its vocabulary and its bank, ready to annotate.

    Args:
        model: in evaluation mode, on its device, in the precision to run in.
        tokens: word pieces in one batch; what is fastest on the device where it is not given.
        selection: bool (concepts,), the concepts that may be linked to (see `Vocabulary.select`); None for all.
    """

    def __init__(
        self,
        model: E2emernModel,
        *,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary: Vocabulary,
        bank: EntityBank,
        model_version: str,
        selection: np.ndarray | None = None,
        tokens: int | None = None,
    ) -> None:
        self.model, self.tokenizer, self.vocabulary, self.bank = model, tokenizer, vocabulary, bank
        self.model_version, self.mesh_version = model_version, vocabulary.version
        stored = model.config.resolver
        self.resolver = Resolver.from_dict(stored) if stored else Resolver.unfitted()
        self.selection = selection
        self.tokens = tokens or fastest_batch(str(model.device))
        self._remembered: dict[str, Tensor] = {}
        self.span_threshold: float = model.config.span_threshold
        # A doubtful span stands only where it is linked, and who links it must have learnt to refuse.
        self.second_look = SECOND_LOOK if stored else 0.0
        self.max_pieces = longest_window(model.encoder)

    @torch.inference_mode()
    def annotate(
        self, texts: Sequence[Text], *, given: Sequence[Sequence[tuple[int, int, str]]] | None = None
    ) -> tuple[list[list[Mention]], Report]:
        """The mentions of each text, ordered by start, and what the levels did.

        With `given` spans (start, end, entity type) of each text, those are linked and none are looked for; a span
        without any word is left out.
        """
        report = Report(sentences=sum(len(text.sentences) for text in texts))
        with report.timed("low"):
            windows, hidden, spans = self.find_spans(texts, given=given)
        linked = self.link(texts, windows, hidden, spans, report)
        with report.timed("resolve"):
            mentions = self.resolve(linked, windows, len(texts))
        report.spans_found = len(spans)
        report.mentions_linked = sum(mention.mesh_id is not None for found in mentions for mention in found)
        return mentions, report

    def find_spans(
        self, texts: Sequence[Text], *, given: Sequence[Sequence[tuple[int, int, str]]] | None = None
    ) -> tuple[list[Window], list[Tensor], list[Span]]:
        """Low level: encodes every sentence once. Returns the windows, H of each, and the spans.

        With `given` spans (start, end, entity type) of each text, those are taken as they are and no tags
        are read; a span that several windows share goes to the first.
        """
        windows, hidden, spans = self.read_spans(texts, given=given)
        if given is None:
            spans = self.agree(texts, windows, spans)
        return windows, hidden, spans

    def read_spans(
        self, texts: Sequence[Text], *, given: Sequence[Sequence[tuple[int, int, str]]] | None = None
    ) -> tuple[list[Window], list[Tensor], list[Span]]:
        """What `find_spans` returns, before the spans of a document are made to agree."""
        windows = make_windows(
            (text.sentences for text in texts),
            tokenizer=self.tokenizer,
            max_pieces=self.max_pieces,
        )
        hidden: list[Tensor] = [torch.empty(0)] * len(windows)
        found: list[list[WordSpan]] = [[] for _ in windows]
        for batch in batches_of([len(window) for window in windows], tokens=self.tokens):
            group = [windows[at] for at in batch]
            ids, mask = pad([window.ids for window in group], padding=self.tokenizer.pad_token_id)
            states = self.model.encode(ids.to(self.model.device), mask.to(self.model.device))
            tagged = [[]] * len(group) if given is not None else self._read_tags(states, group)
            for row, at in enumerate(batch.tolist()):
                hidden[at] = states[row, : len(windows[at])]
                found[at] = tagged[row]
        if given is not None:
            whole = [_laid_out(text.sentences) for text in texts]
            return windows, hidden, _given_spans(windows, given, texts=whole)
        sentences = [[sentence.text for sentence in text.sentences] for text in texts]
        spans = [
            _placed(span, at, windows[at], sentences[windows[at].document][windows[at].sentence])
            for at, spans in enumerate(found)
            for span in spans
        ]
        return windows, hidden, spans

    def agree(self, texts: Sequence[Text], windows: list[Window], spans: list[Span]) -> list[Span]:
        """The spans that stand once their boundaries are settled and each document agrees with itself."""
        sentences = [[sentence.text for sentence in text.sentences] for text in texts]
        settled = settle_boundaries(spans, windows=windows, sentences=sentences, vocabulary=self.vocabulary)
        return agree(
            settled,
            windows=windows,
            sentences=sentences,
            abbreviations=self._explained(texts, settled, across_types=True),
            threshold=LEAST_DOUBTFUL if self.second_look else self.span_threshold,
        )

    def _read_tags(self, hidden: Tensor, windows: list[Window]) -> list[list[WordSpan]]:
        """The spans of each window, from the tags of its words' first pieces."""
        words = np.array([len(window.first) for window in windows])
        first = np.zeros((len(windows), int(words.max())), np.int64)
        for row, window in enumerate(windows):
            first[row, : words[row]] = window.first
        picked = hidden[torch.arange(len(windows))[:, None], torch.from_numpy(first)]
        logged = self.model.low(picked).float().log_softmax(-1).cpu().numpy()
        return find_word_spans(logged, words, tags=self.model.config.tags, second_look=self.second_look)

    def link(
        self, texts: Sequence[Text], windows: list[Window], hidden: list[Tensor], spans: list[Span], report: Report
    ) -> Linked:
        """Mid and high level: gives each group of spans its candidates and scores them."""
        groups = self.group(texts, spans)
        with report.timed("candidates"):
            self.find_candidates(groups, spans, windows, hidden)
        report.candidates_scored += sum(len(group.concepts) for group in groups)
        self._score(groups, spans, windows, hidden, report)
        prior = self.resolver.prior
        return Linked(spans, groups, [features_of(group, vocabulary=self.vocabulary, prior=prior) for group in groups])

    def group(self, texts: Sequence[Text], spans: Sequence[Span]) -> list[Group]:
        """The spans that are linked as one, without candidates yet."""
        return group_spans(spans, abbreviations=self._explained(texts, spans), vocabulary=self.vocabulary)

    def _explained(
        self, texts: Sequence[Text], spans: Sequence[Span], *, across_types: bool = False
    ) -> list[dict[str, str]]:
        """Short form to long form of each document: its abbreviations, and names that stand in brackets behind one.

        A name that ends with the long form goes before it, as "thrombotic thrombocytopenic purpura (TTP)" does, of
        which Schwartz and Hearst take two words.
        """
        laid_out = [_laid_out(text.sentences) for text in texts]
        apposed = appositions(spans, texts=laid_out, vocabulary=self.vocabulary, across_types=across_types)
        words: list[set[str]] = [set() for _ in texts]
        for span in spans:
            words[span.document].add(span.text)
        explained = []
        for text, named, mine in zip(texts, apposed, words, strict=True):
            fuller = {short: long for short, long in named.items() if long.endswith(text.abbreviations.get(short, ""))}
            explained.append(with_plurals(dict(text.abbreviations) | fuller, mine))
        return explained

    def find_candidates(
        self,
        groups: Sequence[Group],
        spans: list[Span],
        windows: list[Window],
        hidden: list[Tensor],
        *,
        k: int = CANDIDATES,
    ) -> None:
        """Gives each group its candidates: k at most of what its sources found, and those that its words end with."""
        for found in self.search(groups, spans, windows, hidden, k=k):
            group = found.group
            marks = marks_of(group.words)
            group.concepts = np.array(
                [
                    at
                    for at in found.united(k)
                    if at in group.named or at in group.heads or bears_marks(marks, self.vocabulary.concepts[at])
                ],
                np.int64,
            )
            if len(group.concepts):
                group.rows, group.similarity, group.likeness = self.bank.compare(
                    group.concepts, context=found.context, name=found.name
                )

    def search(
        self, groups: Sequence[Group], spans: list[Span], windows: list[Window], hidden: list[Tensor], *, k: int
    ) -> Iterator[Found]:
        """What each source finds for each group, k concepts at most, best first."""
        for kind in {group.entity_type for group in groups}:
            mine = [group for group in groups if group.entity_type == kind]
            within = self.vocabulary.slice_of(kind)
            if within.start == within.stop:
                continue
            pooled = []
            for group in mine:
                members = [spans[at] for at in group.spans]
                literal = [span for span in members if normalise(span.text) == normalise(group.words)]
                states = [
                    hidden[span.window][slice(*windows[span.window].pieces_of(span.first, span.last))].float().mean(0)
                    for span in literal or members  # an abbreviation's own letters mislead where the long form stands
                ]
                pooled.append(torch.stack(states).mean(0))
            contexts = self._as_queries(torch.stack(pooled))
            names = self._encoded([group.words for group in mine])
            # Where the words are a name, what their sentence is like adds no candidates worth their time.
            unnamed = [at for at, group in enumerate(mine) if group.match != "exact"]
            by_context: list[list[int]] = [[] for _ in mine]
            for at, concepts in zip(unnamed, self.bank.search(contexts[unnamed], within=within, k=k), strict=True):
                by_context[at] = concepts
            by_name = self.bank.search(names, within=within, k=k, cosine=True)
            for at, group in enumerate(mine):
                exact = sorted(group.named, key=lambda concept: not group.named[concept])[:k]
                yield Found(group, contexts[at], names[at], exact, by_name[at], by_context[at])

    def _encoded(self, words: list[str]) -> Tensor:
        """h_e of words as if they were names: float (S, D) on the model's device. Those met before are remembered."""
        if len(self._remembered) > REMEMBERED_NAMES:
            self._remembered.clear()
        new = list(dict.fromkeys(each for each in words if each not in self._remembered))
        if new:
            encoded = encode_names(self.model, new, tokenizer=self.tokenizer, tokens=self.tokens)
            self._remembered.update(zip(new, encoded, strict=True))
        return torch.stack([self._remembered[each] for each in words]).to(self.model.device)

    def _as_queries(self, pooled: Tensor) -> Tensor:
        """What is multiplied with h_e to give the bilinear attention's score; h itself, at length 1, without it."""
        attention = getattr(self.model, "attention", None)
        if not isinstance(attention, BilinearAttention):
            return pooled / pooled.norm(dim=-1, keepdim=True)
        return pooled @ attention.product.float() / math.sqrt(pooled.shape[-1])

    def _score(
        self,
        groups: list[Group],
        spans: list[Span],
        windows: list[Window],
        hidden: list[Tensor],
        report: Report,
    ) -> None:
        """Asks mid and high of every sentence about the candidates of the groups that stand in it."""
        asked: dict[int, list[tuple[int, int]]] = {}  # window: (group, span)
        for at, group in enumerate(groups):
            group.mid = np.full(len(group.concepts), -np.inf, np.float32)
            group.high = np.full(len(group.concepts), -np.inf, np.float32)
            if len(group.concepts):
                for span in group.spans:
                    asked.setdefault(spans[span].window, []).append((at, span))
        order = list(asked)
        for batch in batches_of([len(windows[at]) for at in order], tokens=self.tokens):
            chosen = [order[at] for at in batch]
            self._score_batch(
                [asked[at] for at in chosen], [hidden[at] for at in chosen], groups, spans, windows, report
            )
        for group in groups:  # a level that is switched off says nothing
            group.mid[np.isinf(group.mid)] = 0.0
            group.high[np.isinf(group.high)] = 0.0

    def _score_batch(
        self,
        asked: list[list[tuple[int, int]]],
        hidden: list[Tensor],
        groups: list[Group],
        spans: list[Span],
        windows: list[Window],
        report: Report,
    ) -> None:
        """Scores the candidates of the groups in a batch of windows, a group keeping its best window's scores."""
        config = self.model.config
        if not (config.use_mid or config.use_high):
            return
        with report.timed("mid"):
            states = torch.nn.utils.rnn.pad_sequence(hidden, batch_first=True)
            lengths = torch.tensor([len(state) for state in hidden])
            mask = (torch.arange(states.shape[1])[None] < lengths[:, None]).to(states.device)
            columns = [list(dict.fromkeys(group for group, _ in row)) for row in asked]
            rows = [np.concatenate([groups[g].rows for g in column]) for column in columns]
            entities = self.bank.vectors(pad(rows, padding=0)[0].to(states.device)).to(states.dtype)
            attended = self.model.attend(states, mask, entities)
            places: dict[tuple[int, int], np.ndarray] = {}  # (row, group): columns of its candidates
            for row, column in enumerate(columns):
                begin = 0
                for g in column:
                    places[row, g] = np.arange(begin, begin + len(groups[g].rows))
                    begin += len(groups[g].rows)
            if config.use_mid:
                logits = self.model.mid(attended, entities).float().cpu().numpy()
                for (row, g), place in places.items():
                    np.maximum(groups[g].mid, logits[row, place], out=groups[g].mid)
        if config.use_high:
            with report.timed("high"):
                # Only a span's own words are read: (S, W) words against (S, K) candidates.
                pairs = [(row, g, spans[span]) for row, owned in enumerate(asked) for g, span in owned]
                words = [windows[span.window].first[span.first : span.last] for _, _, span in pairs]
                at, real = pad(words, padding=0)
                picked, _ = pad([places[row, g] for row, g, _ in pairs], padding=0)
                row_of = torch.tensor([row for row, _, _ in pairs])[:, None]
                own = Attended(attended.weights[row_of, picked.clamp(max=attended.weights.shape[1] - 1)],
                               attended.features[row_of, picked])  # fmt: skip
                high = self.model.high(states[row_of, at], own, entities[row_of, picked]).float().log_softmax(-1)
                tagged = [tag_mention(s.last - s.first, s.entity_type, tags=config.tags) for _, _, s in pairs]
                wanted, _ = pad([np.asarray(each) for each in tagged], padding=0)
                index = wanted[:, None, :, None].expand(*high.shape[:3], 1).to(high.device)
                logged = high.gather(-1, index).squeeze(-1).cpu() * real[:, None]
                means = (logged.sum(-1) / real.sum(-1, keepdim=True)).numpy()
                for (_, g, _), mean in zip(pairs, means, strict=True):
                    np.maximum(groups[g].high, mean[: len(groups[g].rows)], out=groups[g].high)

    def resolve(self, linked: Linked, windows: list[Window], documents: int) -> list[list[Mention]]:
        """Weighs the evidence: the mentions of each document, ordered by start.

        A span has one mention for each concept it is linked to, and one without any where there is none; a doubtful one
        that is linked to none is no mention.
        """
        mentions: list[dict[tuple[int, int, str, str | None], Mention]] = [{} for _ in range(documents)]
        linked_places = set()
        for group, features in zip(linked.groups, linked.features, strict=True):
            ner = max(linked.spans[at].score for at in group.spans)
            choice = self.resolver.resolve(features, ner=ner)
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
    """Loads a model folder and a vocabulary; takes the bank from the model folder or `banks`, else builds it.

    Args:
        mesh: entities table.
        banks: folder where a built bank is kept for the next time.
        dtype: of the weights; the device's fastest where it is not given.
        fitted: take the resolver that the configuration holds; else it is left as one that is to be fitted.

    Raises:
        ValueError: the folder holds no model of ours, or its resolver is of another version.
    """
    vocabulary = Vocabulary.read(mesh)
    model, tokenizer, version = load_model(folder, device=device, dtype=dtype)
    if not fitted:
        model.config.resolver = None
    weights = weights_digest(folder)
    kept = banks / f"{weights}.{vocabulary.digest}.safetensors"
    bank = None
    for place in (folder / "bank.safetensors", kept):
        bank = bank or EntityBank.load(place, weights=weights, vocabulary=vocabulary)
    if bank is None:
        bank = make_bank(kept, model, vocabulary, tokenizer=tokenizer, weights=weights, progress=progress)
    return Cascade(model, tokenizer=tokenizer, vocabulary=vocabulary, bank=bank.to(device), model_version=version)


def _laid_out(sentences: Sequence[Sentence]) -> str:
    """The sentences at their code points, with spaces between."""
    parts: list[str] = []
    at = 0
    for sentence in sentences:
        parts += [" " * (sentence.start - at), sentence.text]
        at = sentence.end
    return "".join(parts)


def _placed(span: WordSpan, at: int, window: Window, sentence: str) -> Span:
    start, end = int(window.start[span.first]), int(window.end[span.last - 1])
    words = sentence[start - window.sentence_start : end - window.sentence_start]
    return Span(window.document, start, end, words, span.entity_type, span.score, at, span.first, span.last)


def _given_spans(
    windows: Sequence[Window], given: Sequence[Sequence[tuple[int, int, str]]], *, texts: Sequence[str]
) -> list[Span]:
    """The given spans, each in the first window that holds its first word."""
    spans: dict[tuple[int, int, int, str], Span] = {}
    for at, window in enumerate(windows):
        document = window.document
        for start, end, kind in given[document]:
            words = window.words_of(start, end)
            if words is not None and (document, start, end, kind) not in spans:
                text = texts[document][start:end]
                spans[document, start, end, kind] = Span(document, start, end, text, kind, 1.0, at, *words)
    return list(spans.values())


def _sigmoid(logit: float) -> float:
    return 1 / (1 + float(np.exp(-logit)))

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
from e2emern.model.inference.grouping import Group, Span, appositions, group_spans, with_names, with_plurals
from e2emern.model.inference.levels import Levels
from e2emern.model.inference.linked import Choices, Linked
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.inference.lookup import LookUps
from e2emern.model.inference.resolver import Resolver
from e2emern.model.inference.segments import starts_of
from e2emern.model.inference.spans import Given, given_spans, tagged_spans, with_listed
from e2emern.model.inference.states import States
from e2emern.model.inference.timings import Report
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_batch
from e2emern.model.pretrained import load_model
from e2emern.model.progress import Progress, silent
from e2emern.model.tagging import WordSpan, find_word_spans
from e2emern.model.tokenization import Window, batches_of, longest_window, make_windows, pad
from e2emern.model.version import encoder_digest
from e2emern.model.vocabulary import Vocabulary

DECODED_WORDS = 2**15  # words whose tags are decoded at once
RECALL_BIAS = 2.0  # log-odds by which O is made less probable to find low-confidence spans; chosen on dev


@dataclass(eq=False, repr=False)
class Cascade:
    """A model, its vocabulary and its bank, ready to annotate.

    Attributes:
        model: in evaluation mode, on its device, in the precision to run in.
        selection: bool (concepts,), the concepts that may be linked to (see `Vocabulary.select`); None for all.
        tokens: word pieces in one batch; 0 for the fastest number on the device.
        least_link: minimum probability of the link of a given span.
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
        self.look_ups = LookUps(self.vocabulary, self.resolver.strings)
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

    def annotate(self, texts: Sequence[Text], *, given: Given | None = None) -> tuple[list[list[Mention]], Report]:
        """Return the mentions of each text, ordered by start, and a report of the levels.

        With `given` spans, link those and search for no others; a span without any word is left out.
        """
        mentions, _, report = self.annotate_with_evidence(texts, given=given)
        return mentions, report

    @torch.inference_mode()
    def annotate_with_evidence(
        self, texts: Sequence[Text], *, given: Given | None = None
    ) -> tuple[list[list[Mention]], Linked, Report]:
        """Return the same as `annotate`, and the candidates that each link was chosen from."""
        report = Report(sentences=sum(len(text.sentences) for text in texts))
        with report.timed("low"):
            states, spans = self.find_spans(texts, given=given)
        linked = self.link(texts, states, spans, report)
        with report.timed("resolve"):
            mentions = self.resolve(linked, states.windows, len(texts), given=given is not None)
        report.spans_found = len(spans)
        report.mentions_linked = sum(mention.mesh_id is not None for found in mentions for mention in found)
        return mentions, linked, report

    def find_spans(self, texts: Sequence[Text], *, given: Given | None = None) -> tuple[States, list[Span]]:
        """Run the low level: encode every sentence once, and return H of its windows, and the spans.

        With `given` spans, take those unchanged and decode no tags; a span that several windows share belongs to the
        first.
        """
        states, spans = self.read_spans(texts, given=given)
        if given is None:
            spans = self.agree(texts, states.windows, spans)
        return states, spans

    def read_spans(self, texts: Sequence[Text], *, given: Given | None = None) -> tuple[States, list[Span]]:
        """Return the same as `find_spans`, before the spans of a document are made consistent.

        Listed names are among them if the resolver was fitted to refuse.
        """
        windows = make_windows((text.sentences for text in texts), tokenizer=self.tokenizer, max_pieces=self.max_pieces)
        rows: list[Tensor] = []
        begin, filled = np.zeros(len(windows), np.int64), 0
        for batch in batches_of([len(window) for window in windows], tokens=self.tokens):
            group = [windows[at] for at in batch]
            ids, mask = pad([window.ids for window in group], padding=self.tokenizer.pad_token_id)
            hidden = self.model.encode(ids.to(self.model.device), mask.to(self.model.device))
            rows.append(hidden[mask.bool().to(hidden.device)])
            lengths = np.array([len(window) for window in group])
            begin[batch] = filled + np.cumsum(lengths) - lengths
            filled += int(lengths.sum())
        size = self.model.encoder.config.hidden_size
        states = States(torch.cat(rows) if rows else torch.zeros(0, size), windows, begin)
        if given is not None:
            return states, given_spans(windows, given, texts=[text.text for text in texts])
        found, probabilities = self._read_tags(states)
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
        return states, spans

    def agree(self, texts: Sequence[Text], windows: Sequence[Window], spans: list[Span]) -> list[Span]:
        """Return the spans that remain after their boundaries are corrected and each document is made consistent.

        After each span come the listed names within it, which become mentions if it does not.
        """
        sentences = [[sentence.text for sentence in text.sentences] for text in texts]
        settled = settle_boundaries(spans, windows=windows, sentences=sentences, vocabulary=self.vocabulary)
        agreed = agree(
            settled,
            windows=windows,
            sentences=sentences,
            abbreviations=self._explained(texts, settled, across_types=True),
            threshold=LEAST_CONFIDENCE if self.recall_bias else self.span_threshold,
        )
        return with_names(agreed)

    def _read_tags(self, states: States) -> tuple[list[list[WordSpan]], list[np.ndarray]]:
        """Return the spans and the probabilities of the tags (words, L) of each window.

        The tags of a word are those of its first piece.
        """
        windows, tags = states.windows, self.model.config.tags
        words = np.array([len(window.first) for window in windows], np.int64)
        first = starts_of(words)
        # The tags of all pieces take less time than a copy of the first ones.
        logged = self.model.low(states.rows)[states.first_pieces()].float().log_softmax(-1).cpu().numpy()
        found: list[list[WordSpan]] = [[] for _ in windows]
        for block in batches_of(words.tolist(), tokens=DECODED_WORDS):
            places = np.minimum(first[block, None] + np.arange(int(words[block].max())), len(logged) - 1)
            decoded = find_word_spans(logged[places], words[block], tags=tags, recall_bias=self.recall_bias)
            for at, spans in zip(block.tolist(), decoded, strict=True):
                found[at] = spans
        probabilities = np.exp(logged)
        return found, np.split(probabilities, first[1:-1]) if len(windows) else []

    def link(self, texts: Sequence[Text], states: States, spans: Sequence[Span], report: Report) -> Linked:
        """Run the mid and high levels: give each group of spans its candidates, and weigh the evidence for them."""
        with report.timed("candidates"):
            groups = self.group(texts, spans)
            candidates = self.candidates.candidates(groups, spans, states)
        report.candidates_scored += len(candidates.concepts)
        report.recall("words looked up", self.look_ups.remembered.take_counts())
        report.recall("words searched for", self.candidates.nearest.take_counts())
        mid, high = self.levels.score(groups, candidates, spans, states, report)
        with report.timed("features"):
            features = features_of(
                groups, candidates, mid=mid, high=high, vocabulary=self.vocabulary, prior=self.resolver.prior
            )
        return Linked(spans, groups, candidates, features)

    def group(self, texts: Sequence[Text], spans: Sequence[Span]) -> list[Group]:
        """Return the groups of spans that are linked as one."""
        if self.look_ups.strings is not self.resolver.strings:
            self.look_ups = LookUps(self.vocabulary, self.resolver.strings)
        return group_spans(spans, abbreviations=self._explained(texts, spans), look_ups=self.look_ups)

    def _explained(
        self, texts: Sequence[Text], spans: Sequence[Span], *, across_types: bool = False
    ) -> list[dict[str, str]]:
        """Return short form to long form for each document: its abbreviations, and names in brackets after a name.

        A name that ends with the abbreviation's long form replaces it: of "thrombotic thrombocytopenic purpura (TTP)"
        the algorithm of Schwartz and Hearst takes two words.
        """
        whole, spans = [text.text for text in texts], [span for span in spans if span.around is None]
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
        self, linked: Linked, windows: Sequence[Window], documents: int, *, given: bool = False
    ) -> list[list[Mention]]:
        """Weigh the evidence, and return the mentions of each document, ordered by start.

        A span gives one mention for each concept it is linked to, or one without a concept. A low-confidence span that
        is not linked is left out.

        Args:
            given: the spans are known to be mentions.
        """
        ner = linked.confidence
        none = None if given else none_features_of(linked.groups, ner=ner)
        first, concepts = linked.candidates.first, linked.candidates.concepts
        chosen, probability = self.resolver.resolve(linked.features, first, none_features=none)
        if given:
            chosen = np.where(probability < self.least_link, -1, chosen)
        if self.selection is not None and len(concepts):
            chosen = np.where((chosen >= 0) & self.selection[concepts[chosen]], chosen, -1)
        how = self.resolver.evidence(linked.features, first, chosen[chosen >= 0])
        choices = Choices((chosen >= 0) | (ner >= self.span_threshold), chosen, probability, how)
        return choices.mentions(linked, windows, vocabulary=self.vocabulary, documents=documents)


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
        banks: folder for a bank that has to be built.
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

"""A training in progress: its model, its optimizer, its position in the data, its steps and epochs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from e2emern.model.cli import plural
from e2emern.model.corpus import GoldDocument, read_corpus
from e2emern.model.errors import FileError
from e2emern.model.network import E2emernModel
from e2emern.model.precision import PRECISIONS
from e2emern.model.seen import Seen, identities, read_seen, union, unseen
from e2emern.model.tokenization import longest_window
from e2emern.model.training.checkpoint import copy_weights, load_checkpoint, read_progress, save_checkpoint, trim_curve
from e2emern.model.training.distillation import Silver, read_silver, seen_by_teachers, silver_loss, words_of
from e2emern.model.training.encoders import check_pieces, reading
from e2emern.model.training.losses import Totals, joint_loss
from e2emern.model.training.recipe import Recipe, RecipeError, find_encoder
from e2emern.model.training.samples import Batch, Sampler, make_samples
from e2emern.model.training.validation import DevSplit, make_dev, score_spans
from e2emern.model.vocabulary import Vocabulary

LOSSES = ("total", "low", "mid", "high", "candidate", "silver")


@dataclass(slots=True)
class TrainingState:
    """The position of a training, as a checkpoint keeps it."""

    made_from: dict[str, Any]  # recipe and data
    step: int = 0
    epoch: int = 0
    batch: int = 0  # the next batch of the epoch
    parts: int = 1  # number of parts of a batch, so that each fits into memory
    epochs: int = 0  # epochs to train: those of the recipe, or fewer if only these fit into the budget
    seconds: float = 0.0  # of training until the checkpoint
    dev_f1: list[float] = field(default_factory=list)
    recent: list[list[float]] = field(default_factory=list)  # losses since the last row of the curve
    scaler: dict[str, Any] = field(default_factory=dict)

    def stopped(self, patience: int) -> bool:
        """Return whether dev has not gained for `patience` epochs."""
        return bool(patience and self.dev_f1) and len(self.dev_f1) - 1 - self.best >= patience

    @property
    def best(self) -> int:
        return self.dev_f1.index(max(self.dev_f1))


@dataclass(slots=True)
class Trainer:
    """Everything that a step of a training needs."""

    recipe: Recipe
    model: E2emernModel
    tokenizer: PreTrainedTokenizerBase
    sampler: Sampler
    silver: Silver | None
    dev: DevSplit | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    state: TrainingState
    output: Path
    log: Callable[[str], None]
    seen: Seen | None  # what the model and its ancestors have seen at the end; None if unknown
    best: dict[str, Tensor] | None = None

    def take_step(self, batches: list[Batch], rate: float) -> None:
        """Update the weights by the mean gradient of `batches`; `rate` is the share of the peak rates."""
        recipe, state = self.recipe, self.state
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        while (losses := self._backward(batches)) is None:
            state.parts *= 2
            self.log(f"out of memory: each batch is now split into {state.parts} parts, with the same losses")
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not math.isfinite(losses[0]) and recipe.precision != "fp16":  # which skips steps that overflow
            raise RecipeError(f"the loss is {losses[0]} at step {state.step}; lower encoder_rate or head_rate")
        state.step += 1
        state.batch += len(batches)
        state.recent.append(losses)

    def _backward(self, batches: list[Batch]) -> list[float] | None:
        """Accumulate the gradients of the step and return its mean losses; None if the memory did not suffice."""
        recipe, state, device = self.recipe, self.state, self.model.device.type
        torch.manual_seed(recipe.seed * 1_000_003 + state.step)
        self.optimizer.zero_grad()
        losses = torch.zeros(len(LOSSES))
        try:
            for batch in batches:
                whole = batch.to(str(self.model.device))
                totals = Totals.of(whole)
                for part in whole.split(state.parts):
                    with self.autocast():
                        found = joint_loss(self.model, part, totals=totals)
                    self.scaler.scale(found.total / len(batches)).backward()
                    losses[:-1] += torch.tensor(found.values()) / len(batches)
            if self.silver is not None:
                losses[-1] = self._learn_silver(self.silver, count=len(batches))
                losses[0] += recipe.silver_weight * losses[-1]
        except torch.OutOfMemoryError as error:
            if state.parts >= max(len(batch.ids) for batch in batches):
                raise RecipeError("out of memory with one sentence at a time; lower tokens, or --device cpu") from error
        else:
            return [float(value) for value in losses]
        self.optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.empty_cache()
        return None

    def _learn_silver(self, silver: Silver, *, count: int) -> float:
        """Add the gradients of as many tagged batches as the step has gold batches, and return their loss."""
        loss = 0.0
        for number in range(count):
            whole = silver.batch(self.state.step * self.recipe.accumulate + number).to(str(self.model.device))
            total = words_of(whole)
            for part in whole.split(self.state.parts):
                with self.autocast():
                    found = silver_loss(self.model, part, total=total) / count
                self.scaler.scale(self.recipe.silver_weight * found).backward()
                loss += float(found.detach())
        return loss

    def autocast(self) -> torch.autocast:
        """Return the recipe's precision, as a context."""
        precision = self.recipe.precision
        return torch.autocast(self.model.device.type, PRECISIONS[precision], enabled=precision != "fp32")

    def end_epoch(self) -> None:
        """Begin the next epoch, and score the dev split."""
        state = self.state
        state.epoch, state.batch = state.epoch + 1, 0
        self.model.eval()
        if self.dev is not None:
            self._score(self.dev)
        self.model.train()

    def _score(self, dev: DevSplit) -> None:
        """Score the dev split, and keep the weights if they are the best so far."""
        state = self.state
        with self.autocast():
            score = score_spans(self.model, dev)
        state.dev_f1.append(round(score.f1, 5))
        if state.best == len(state.dev_f1) - 1:
            self.best = copy_weights(self.model)
        figures = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
        row = {"epoch": state.epoch - 1, "step": state.step, **{k: round(v, 5) for k, v in figures.items()}}
        add_row(self.output / "dev.jsonl", row)
        self.log(
            f"epoch {row['epoch']} dev " + " ".join(f"{name} {100 * value:.2f}" for name, value in figures.items())
        )

    def save(self) -> None:
        """Write a checkpoint."""
        self.state.scaler = self.scaler.state_dict()
        save_checkpoint(
            self.output,
            model=self.model,
            optimizer=self.optimizer,
            progress=asdict(self.state),
            best=self.best,
        )

    def resume(self) -> None:
        """Resume from the checkpoint of the output folder, if any, and truncate the curves to it."""
        found = read_progress(self.output)
        if found is not None:
            check_same(found["made_from"], self.state.made_from, self.output)
            self.best = load_checkpoint(self.output, model=self.model, optimizer=self.optimizer)
            self.state = TrainingState(**found)
            self.scaler.load_state_dict(self.state.scaler)
        trim_curve(self.output / "loss.jsonl", keep=lambda row: row["step"] <= self.state.step)
        trim_curve(self.output / "dev.jsonl", keep=lambda row: row["epoch"] < self.state.epoch)


def make_trainer(
    recipe: Recipe,
    *,
    corpus: Path,
    silver: Path | None = None,
    vocabulary: Vocabulary,
    output: Path,
    folder: Path,
    device: str,
    log: Callable[[str], None],
    made_from: dict[str, Any],
) -> Trainer:
    """Load the encoder and the data of a recipe, ready for the first step or for `resume`.

    Raises:
        RecipeError: the encoder, the corpus or the tagged sentences cannot be loaded, or the corpus lacks a split or
            any word to train on.
    """
    torch.manual_seed(recipe.seed)
    model, tokenizer = _load_encoder(recipe, folder)
    nn.Module.to(model, device)
    if model.device.type == "cpu":  # on CPUs, the fused attention has the slower backward pass
        model.encoder.set_attn_implementation("eager")
    set_dropout(model, recipe.dropout)
    if recipe.freeze_embeddings:
        model.encoder.get_input_embeddings().requires_grad_(False)
    max_pieces = longest_window(model.encoder)
    documents = _read_split(corpus, splits=recipe.all_train)
    before = _seen_before(recipe, silver=silver, folder=folder, log=log)
    trained_on = identities(documents) | (before.trained if before else frozenset())
    of_dev = _choosing(_read_split(corpus, splits=recipe.dev), trained_on=trained_on, log=log)
    tags, tagged = model.config.tags, None
    if silver is not None:
        tagged = read_silver(silver, tags=tags, tokenizer=tokenizer, tokens=recipe.tokens, seed=recipe.seed)
    return Trainer(
        recipe=recipe,
        model=model.train(),
        tokenizer=tokenizer,
        sampler=_make_sampler(
            recipe,
            documents,
            corpus=corpus,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            tags=tags,
            max_pieces=max_pieces,
        ),
        silver=tagged,
        dev=make_dev(of_dev, tokenizer=tokenizer, max_pieces=max_pieces) if of_dev else None,
        optimizer=torch.optim.AdamW(parameter_groups(model, recipe), weight_decay=recipe.weight_decay, fused=True),
        scaler=torch.amp.GradScaler(model.device.type, enabled=recipe.precision == "fp16"),
        state=TrainingState(made_from, epochs=recipe.epochs),
        output=output,
        log=log,
        seen=union([before, Seen(identities(documents), identities(of_dev))]),
    )


def _seen_before(recipe: Recipe, *, silver: Path | None, folder: Path, log: Callable[[str], None]) -> Seen | None:
    """Return what the encoder and the teachers have seen; None if it is unknown, which is logged."""
    try:
        lists = [read_seen(Path(find_encoder(recipe.encoder, folder=folder)))]
    except FileError as error:
        raise RecipeError(str(error)) from error
    lists += [seen_by_teachers(silver)] if silver else []
    if None in lists:
        what = f"encoder {recipe.encoder}" if lists[0] is None else str(silver)
        log(f"{what}: no list of the documents it has seen; the new model has none either, so the gate will refuse it")
    return union(lists)


def _choosing(
    of_dev: list[GoldDocument], *, trained_on: frozenset[str], log: Callable[[str], None]
) -> list[GoldDocument]:
    """Return the documents of dev that may choose the epoch: those that no ancestor was trained on."""
    kept = unseen(of_dev, trained_on)
    if len(kept) < len(of_dev):
        number = f"{len(of_dev) - len(kept)} of {plural(len(of_dev), 'document')} of dev"
        log(f"{number} are passed over: the model or an ancestor is trained on them")
        if not kept:
            log("no epoch is chosen: the last one is kept")
    return kept


def _make_sampler(
    recipe: Recipe,
    documents: Sequence[GoldDocument],
    *,
    corpus: Path,
    vocabulary: Vocabulary,
    tokenizer: PreTrainedTokenizerBase,
    tags: list[str],
    max_pieces: int,
) -> Sampler:
    samples = make_samples(
        documents, tokenizer=tokenizer, vocabulary=vocabulary, max_pieces=max_pieces, names_only=recipe.names_only
    )
    if not samples:
        found = plural(len(documents), "document")
        raise RecipeError(f"{corpus}: no word to train on, in {found} of {', '.join(recipe.all_train)}")
    return Sampler(
        samples,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        tags=tags,
        tokens=recipe.tokens,
        hard_negatives=recipe.hard_negatives,
        random_negatives=recipe.random_negatives,
        asked_negatives=recipe.asked_negatives,
        shares=recipe.shares,
        seed=recipe.seed,
    )


def _read_split(corpus: Path, *, splits: Sequence[str]) -> list[GoldDocument]:
    try:
        return read_corpus(corpus, splits=splits)
    except FileError as error:
        raise RecipeError(str(error)) from error


def parameter_groups(model: E2emernModel, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the encoder at `encoder_rate`, the heads at `head_rate`; a group's `peak` is its highest rate."""
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learning if (id(p) in encoder) == within], "lr": peak, "peak": peak}
        for within, peak in ((True, recipe.encoder_rate), (False, recipe.head_rate))
    ]


def set_dropout(model: E2emernModel, share: float) -> None:
    """Set the dropout of hidden states, and switch off that of attention weights, as the fused kernels need."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0 if name.endswith("attention.self.dropout") else share


def check_same(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise RecipeError if a folder holds a training with another recipe or other data."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise RecipeError(
                f"{folder} holds a training with {key} {found.get(key)!r}, but this one has {value!r}; "
                "choose another --output, or delete it"
            )


def check_free(folder: Path) -> None:
    """Raise RecipeError if a folder without a checkpoint holds a model or an encoder, which would be overwritten."""
    if (folder / "config.json").exists() and read_progress(folder) is None:
        raise RecipeError(f"{folder} holds a model that was not made by this command; choose another --output")


def add_row(curve: Path, row: dict[str, Any]) -> None:
    """Append a row to a curve of JSON lines."""
    with curve.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _load_encoder(recipe: Recipe, folder: Path) -> tuple[E2emernModel, PreTrainedTokenizerBase]:
    with reading(recipe.encoder, folder=folder) as name:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = E2emernModel.on_encoder(
            name,
            tag_scheme=recipe.tag_scheme,
            attention=recipe.attention,
            fusion=recipe.fusion,
            use_mid=recipe.use_mid,
            use_high=recipe.use_high,
            low_weight=recipe.low_weight,
            mid_weight=recipe.mid_weight,
            high_weight=recipe.high_weight,
            candidate_weight=recipe.candidate_weight,
        )
    check_pieces(recipe.encoder, tokenizer=tokenizer, network=model.encoder)
    if not tokenizer.is_fast:
        raise RecipeError(f"encoder {recipe.encoder}: its tokenizer is not a fast tokenizer (no tokenizer.json)")
    return model, tokenizer

"""Trains the three levels together (section 3.3): python -m model.train --help.

Random numbers of a step depend on (seed, step) alone, and a checkpoint holds weights, moments and the
step, so a run that is killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from .checkpoint import load_checkpoint, save_checkpoint
from .corpus import read_corpus
from .folder import save_model
from .losses import candidate_loss, mention_loss, tag_loss
from .network import BilinearAttention, E2emernModel
from .samples import Batch, Sampler, make_samples
from .vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the outcome of a training, besides its data."""

    encoder: str
    train: tuple[str, ...]  # splits, as `corpus/split`
    attention: str = "bilinear"
    fusion: str = "gate"
    use_mid: bool = True
    use_high: bool = True
    mid_weight: float = 0.125
    high_weight: float = 0.1
    candidate_weight: float = 0.1
    epochs: int = 8
    tokens: int = 1024  # word pieces a step
    encoder_rate: float = 3e-4
    head_rate: float = 1e-3
    warmup: float = 0.1  # share of all steps
    dropout: float = 0.1
    hard_negatives: int = 8
    random_negatives: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Losses:
    """The joint loss of a batch (equation 4) and its parts."""

    total: Tensor
    low: Tensor
    mid: Tensor
    high: Tensor
    candidate: Tensor


def joint_loss(model: E2emernModel, batch: Batch) -> Losses:
    """Runs all levels on a batch; a level that is switched off counts zero."""
    config = model.config
    hidden = model.encode(batch.ids, batch.mask)
    low = tag_loss(model.low(hidden), batch.allowed, batch.counted)
    mid = high = candidate = torch.zeros((), device=hidden.device)
    if config.use_mid or config.use_high:
        names = torch.cat([model.encode_names(*half) for half in _halves(batch.name_ids, batch.name_mask)])
        if config.use_mid:
            shared = names.unsqueeze(0)
            logits = model.mid(model.attend(hidden, batch.mask, shared), shared)
            mid = mention_loss(logits, batch.contained, batch.known)
        if isinstance(model.attention, BilinearAttention) and config.candidate_weight and len(batch.span_row):
            spans = torch.einsum("sn,snd->sd", batch.span_pieces.to(hidden.dtype), hidden[batch.span_row])
            scores = model.attention.scores(spans.unsqueeze(0), names.unsqueeze(0))[0].T
            candidate = candidate_loss(scores, batch.span_right)
        if config.use_high:
            asked = names[batch.asked]  # (B, K, D)
            logits = model.high(hidden, model.attend(hidden, batch.mask, asked), asked)
            high = tag_loss(logits, batch.asked_tags, batch.asked_counted)
    total = low + config.mid_weight * mid + config.high_weight * high + config.candidate_weight * candidate
    return Losses(total, low, mid, high, candidate)


def train(
    recipe: Recipe,
    *,
    corpus: Path,
    mesh: Path,
    output: Path,
    device: str = "cpu",
    save_every: float = 300.0,
    stop_after: int | None = None,
) -> Path:
    """Trains as `recipe` says and writes a transformers folder to `output`; resumes from `output/checkpoint`.

    Args:
        corpus: Parquet file of gold documents (`model.corpus`).
        mesh: entities table.
        save_every: seconds between checkpoints.
        stop_after: stops after so many steps of this run, leaving a checkpoint.
    """
    output.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary.read(mesh)
    tokenizer = AutoTokenizer.from_pretrained(recipe.encoder)
    torch.manual_seed(recipe.seed)
    model = E2emernModel.on_encoder(
        recipe.encoder,
        attention=recipe.attention,
        fusion=recipe.fusion,
        use_mid=recipe.use_mid,
        use_high=recipe.use_high,
        mid_weight=recipe.mid_weight,
        high_weight=recipe.high_weight,
        candidate_weight=recipe.candidate_weight,
    )
    nn.Module.to(model, device)
    if device == "cpu":  # on CPUs, the backward pass of the fused attention is the slower one
        model.encoder.set_attn_implementation("eager")
    set_dropout(model, recipe.dropout)
    samples = make_samples(read_corpus(corpus, splits=recipe.train), tokenizer=tokenizer, vocabulary=vocabulary)
    sampler = Sampler(
        samples,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        tags=model.config.tags,
        tokens=recipe.tokens,
        hard_negatives=recipe.hard_negatives,
        random_negatives=recipe.random_negatives,
        seed=recipe.seed,
    )
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), weight_decay=0.01, fused=True)
    peaks = [group["lr"] for group in optimizer.param_groups]
    steps = sum(len(sampler.plan(epoch)) for epoch in range(recipe.epochs))
    progress = load_checkpoint(output, model=model, optimizer=optimizer) or {"step": 0, "epoch": 0, "batch": 0}
    step, ran = progress["step"], 0
    print(f"{len(samples)} sentences, {recipe.epochs} epochs, {steps} steps, from step {step}", flush=True)
    started = saved = time.monotonic()
    recent: list[list[float]] = []
    model.train()
    for epoch in range(progress["epoch"], recipe.epochs):
        skip = progress["batch"] if epoch == progress["epoch"] else 0
        for number, batch in enumerate(sampler.epoch(epoch, skip=skip), start=skip):
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_at(step, steps=steps, warmup=recipe.warmup)
            with torch.autocast(device, dtype=torch.bfloat16):
                losses = joint_loss(model, batch.to(device))
            optimizer.zero_grad()
            losses.total.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step, ran = step + 1, ran + 1
            recent.append([value.item() for value in asdict_tensors(losses)])
            if len(recent) == 50 or step == steps:
                _report(output, step, steps, epoch, recent, (time.monotonic() - started) / ran)
                recent = []
            stop = stop_after is not None and ran >= stop_after
            if stop or time.monotonic() - saved > save_every:
                place = {"step": step, "epoch": epoch, "batch": number + 1}
                save_checkpoint(output, model=model, optimizer=optimizer, progress=place)
                saved = time.monotonic()
            if stop:
                return output
    save_checkpoint(
        output, model=model, optimizer=optimizer, progress={"step": step, "epoch": recipe.epochs, "batch": 0}
    )
    save_model(model, tokenizer, output)
    (output / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    return output


def parameter_groups(model: E2emernModel, recipe: Recipe) -> list[dict[str, object]]:
    """The encoder at `encoder_rate`, the heads at `head_rate`."""
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    return [
        {"params": [p for p in model.parameters() if id(p) in encoder], "lr": recipe.encoder_rate},
        {"params": [p for p in model.parameters() if id(p) not in encoder], "lr": recipe.head_rate},
    ]


def rate_at(step: int, *, steps: int, warmup: float) -> float:
    """Share of the peak rate: linear up over the first `warmup` of the steps, then linear down to zero."""
    first = max(1, int(steps * warmup))
    return (step + 1) / first if step < first else max(0.0, (steps - step) / max(1, steps - first))


def set_dropout(model: E2emernModel, share: float) -> None:
    """Sets the dropout of hidden states; that of attention weights is off, for the fused kernels' sake."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0 if name.endswith("attention.self.dropout") else share


def asdict_tensors(losses: Losses) -> Sequence[Tensor]:
    """The parts of the loss in the order of their fields."""
    return [losses.total, losses.low, losses.mid, losses.high, losses.candidate]


def _halves(ids: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The shorter and the longer half of names sorted by length, each no wider than it needs."""
    parts = []
    for half, shown in zip(ids.tensor_split(2), mask.tensor_split(2), strict=True):
        if len(half):
            width = int(shown.sum(1).max())
            parts.append((half[:, :width], shown[:, :width]))
    return parts


def _report(output: Path, step: int, steps: int, epoch: int, recent: list[list[float]], seconds: float) -> None:
    means = [sum(column) / len(column) for column in zip(*recent, strict=True)]
    row = dict(zip(("total", "low", "mid", "high", "candidate"), (round(mean, 5) for mean in means), strict=True))
    with (output / "loss.jsonl").open("a") as curve:
        curve.write(json.dumps({"step": step, "epoch": epoch, **row}) + "\n")
    parts = " ".join(f"{name} {value:.4f}" for name, value in row.items())
    print(f"epoch {epoch} step {step}/{steps} {parts} {(steps - step) * seconds / 60:.0f} min left", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Trains from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.train", description=__doc__)
    parser.add_argument("--corpus", required=True, type=Path, help="gold documents, Parquet")
    parser.add_argument("--mesh", required=True, type=Path, help="entities table, Parquet")
    parser.add_argument("--output", required=True, type=Path, help="folder of the model and its checkpoint")
    parser.add_argument("--encoder", required=True, help="transformers folder or hub name to start from")
    parser.add_argument("--train", required=True, help="splits, separated by commas: ncbi-disease/train,bc5cdr/train")
    for name in ("attention", "fusion"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--low-only", action="store_true", help="train the low level alone, without entities")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--encoder-rate", type=float, default=3e-4)
    parser.add_argument("--candidate-weight", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=300.0, help="seconds between checkpoints")
    parser.add_argument("--stop-after", type=int, help="stop after so many steps, leaving a checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = vars(parser.parse_args(arguments))
    options["train"] = tuple(options["train"].split(","))
    if options.pop("low_only"):
        options |= {"use_mid": False, "use_high": False, "candidate_weight": 0.0}
    given = {k: options.pop(k) for k in ("corpus", "mesh", "output", "device", "stop_after", "save_every")}
    train(Recipe(**{key: value for key, value in options.items() if value is not None}), **given)
    return 0


if __name__ == "__main__":
    sys.exit(main())

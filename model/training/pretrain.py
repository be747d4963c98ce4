"""Continues masked-language pre-training of an encoder on plain text (BERT, Devlin et al. 2019, section 3.1).

Text is packed once into rows of equal length, in a memory-mapped file. Each step draws its random numbers from (seed,
step), so that a resumed run ends with the same weights as an uninterrupted one. The learning rate warms up, stays
constant, and falls at the end (Hu et al. 2024, MiniCPM, arXiv 2404.06395). The state before the fall is kept, so that a
finished run can continue with a larger budget.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from e2emern.model.cli import fails_in_one_line, plural
from e2emern.model.files import atomic_path, file_digest, share, write_text
from e2emern.model.network import E2emernConfig
from e2emern.model.precision import PRECISIONS, fastest_precision
from e2emern.model.tokenization import pieces_digest, positions_of
from e2emern.model.training.checkpoint import (
    load_checkpoint,
    read_progress,
    remove_checkpoint,
    save_checkpoint,
    trim_curve,
)
from e2emern.model.training.encoders import check_pieces, reading
from e2emern.model.training.recipe import RecipeError
from e2emern.model.training.trainer import add_row, check_free, check_same

MASKED_SHARE = 0.2  # of the words; small encoders gain up to this (Wettig et al. 2023, arXiv 2202.08005, section 4)
REPORT_EVERY = 20  # steps
DONE = "pretraining.json"
STABLE = "stable"  # folder of the checkpoint from before the rate falls


class MaskedLanguageModel(nn.Module):
    """An encoder with BERT's prediction head, its output layer tied to the input embeddings."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        size, vocabulary = encoder.config.hidden_size, encoder.config.vocab_size
        self.encoder = encoder
        self.transform = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats where labels (rows, length) are not -100; 0 without any."""
        hidden = self.encoder(input_ids=input_ids).last_hidden_state
        chosen = labels != -100  # only masked positions pay for the softmax over the vocabulary
        hidden = self.norm(F.gelu(self.transform(hidden[chosen])))
        embedded = cast(nn.Embedding, self.encoder.get_input_embeddings()).weight
        logits = F.linear(hidden, embedded, self.bias)
        return F.cross_entropy(logits.float(), labels[chosen], reduction="sum") / chosen.sum().clamp(min=1)


def pack_text(text: Path, *, tokenizer: PreTrainedTokenizerBase, length: int, folder: Path) -> np.ndarray:
    """Pack the lines of `text` (plain or .xz) into rows of `length` piece ids, in a file that is memory-mapped.

    Rows start with [CLS] and end with [SEP]; lines follow each other, separated by [SEP]; what does not fill a last
    row is left out. Returns int32 (rows, length). The file is named after the content of `text` and the word
    pieces, and made once.

    Raises:
        RecipeError: the text cannot be read, or does not fill a row.
    """
    packed = folder / f"pieces.{length}.{file_digest(text)}.{pieces_digest(tokenizer)[:16]}.int32"
    if not packed.exists():
        body, rest = length - 2, np.empty(0, np.int32)
        with atomic_path(packed) as temporary, temporary.open("wb") as file:
            for lines in read_lines(text):
                encoded = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"]
                pieces = np.concatenate([rest, *(np.asarray([*ids, tokenizer.sep_token_id]) for ids in encoded)])
                full = len(pieces) // body
                rows = np.empty((full, length), np.int32)
                rows[:, 0], rows[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
                rows[:, 1:-1] = pieces[: full * body].reshape(full, body)
                rows.tofile(file)
                rest = pieces[full * body :]
    if not packed.stat().st_size:
        raise RecipeError(f"{text}: fewer than {length - 2} word pieces, which is one row")
    return np.memmap(packed, np.int32, "r").reshape(-1, length)


def continuing_pieces(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return which pieces continue a word, as bool (vocabulary,): those with WordPiece's `##`.

    Other tokenizers have no such pieces; there every piece counts as a word.
    """
    continues = torch.zeros(len(tokenizer), dtype=torch.bool)
    continues[[number for piece, number in tokenizer.get_vocab().items() if piece.startswith("##")]] = True
    return continues


def mask_words(
    rows: Tensor, *, continues: Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose a fifth of the words with all their pieces: 80 % become [MASK], 10 % random, 10 % stay.

    Devlin et al. 2019, with the whole words of their later release: a single piece of a chemical's name can be guessed
    from the others.

    Args:
        rows: ids of pieces, (rows, length).
        continues: the result of `continuing_pieces`.
        tokenizer: defines the special pieces and the mask.
        generator: of all random numbers.

    Returns:
        Inputs and labels, both (rows, length); labels are -100 at positions that were not chosen.
    """
    special = torch.zeros_like(rows, dtype=torch.bool)
    for piece in tokenizer.all_special_ids:
        special |= rows == piece
    starts = ~continues[rows]
    starts[:, 0] = True
    word = starts.cumsum(dim=1) - 1
    chosen = (torch.rand(rows.shape, generator=generator).gather(1, word) < MASKED_SHARE) & ~special
    labels = rows.masked_fill(~chosen, -100)
    how = torch.rand(rows.shape, generator=generator)
    inputs = rows.masked_fill(chosen & (how < 0.8), int(tokenizer.mask_token_id))
    random = torch.randint(len(tokenizer), rows.shape, generator=generator)
    return torch.where(chosen & (how >= 0.9), random, inputs), labels


def learning_rate(step: int, *, steps: int, warmup: int, decay: float, peak: float) -> float:
    """Return the rate: linear warm-up to `peak`, constant, then linear to zero over the last `decay` of steps."""
    last = steps - stable_steps(steps, decay)
    return peak * min(1.0, (step + 1) / max(1, warmup), (steps - step) / max(1, last))


def stable_steps(steps: int, decay: float) -> int:
    """Return how many steps precede the fall of the rate; a larger budget shares them."""
    return steps - round(steps * decay)


def pretrain(
    *,
    encoder: str,
    text: Path,
    output: Path,
    tokens: int,
    length: int = 128,
    rows_per_step: int = 32,
    peak: float = 5e-4,
    warmup: int = 100,
    decay: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    save_every: float = 300.0,
    stop_after: int | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Train `encoder` on `tokens` word pieces of `text` and write a transformers folder to `output`.

    A killed run is resumed. A finished run continues from before its rate fell if `tokens` is larger now. The loss
    curve is `output/loss.jsonl`; `output/pretraining.json` is written last.

    Args:
        tokens: word pieces to see in all.
        length: word pieces per row.
        peak: highest learning rate.
        warmup: steps.
        decay: share of the steps over which the rate falls to zero.
        save_every: seconds between checkpoints.
        stop_after: steps of this run after which it saves a checkpoint and stops.
        log: receives the log lines.

    Raises:
        RecipeError: the encoder or the text cannot be used, the rows are too long for the encoder, or `output` holds
            another pre-training, one with a larger budget, or a model of another origin.
    """
    output.mkdir(parents=True, exist_ok=True)
    if not (output / DONE).exists() and read_progress(output / STABLE) is None:
        check_free(output)
    torch.manual_seed(seed)  # of the new prediction head
    model, tokenizer = _load(encoder)
    if length > (most := positions_of(model.encoder)):
        raise RecipeError(f"length is {length}, but encoder {encoder} reads at most {most} word pieces")
    rows = pack_text(text, tokenizer=tokenizer, length=length, folder=output)
    nn.Module.to(model, device).train()
    if torch.device(device).type == "cpu":  # at 128 pieces, 20 % faster on CPUs than the fused attention
        model.encoder.set_attn_implementation("eager")
    steps = max(1, tokens // (rows_per_step * length))
    made_from: dict[str, Any] = {
        "encoder": encoder, "text_digest": file_digest(text), "pieces": len(rows) * length, "length": length,
        "rows_per_step": rows_per_step, "peak": peak, "warmup": warmup, "decay": decay, "seed": seed,
        "precision": fastest_precision(device),
    }  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    first = _resume(output, made_from, steps, model=model, optimizer=optimizer)
    if first is None:
        return log(f"{output} is already pre-trained")
    run = _Run(model, tokenizer, optimizer, rows, steps, made_from, device=device, output=output, log=log)
    if run.take_steps(first, save_every=save_every, stop_after=stop_after):
        run.finish()


@dataclass(frozen=True, slots=True)
class _Run:
    """The state that the steps of a pre-training share.

    Attributes:
        rows: word pieces (rows, length).
        made_from: settings and digests that identify the pre-training.
    """

    model: MaskedLanguageModel
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer
    rows: np.ndarray
    steps: int
    made_from: dict[str, Any]
    _: KW_ONLY
    device: str
    output: Path
    log: Callable[[str], None]

    def take_steps(self, first: int, *, save_every: float, stop_after: int | None) -> bool:
        """Take the steps from `first` on; return False if it stopped before the end."""
        trim_curve(self.output / "loss.jsonl", keep=lambda row: row["step"] <= first)
        a_step = self.made_from["rows_per_step"] * self.made_from["length"]
        pieces = plural(self.rows.size, "word piece")
        self.log(f"{pieces}, {plural(self.steps, 'step')} of {a_step:,}, from step {first}")
        continues = continuing_pieces(self.tokenizer)
        stable = stable_steps(self.steps, self.made_from["decay"])
        started = saved = time.monotonic()
        recent: list[float] = []
        for step in range(first, self.steps):
            if step == stable:
                self.save(self.output / STABLE, step)
            recent.append(self.take_step(step, continues=continues))
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == self.steps:
                self.report(step + 1, recent, rate=(step + 1 - first) * a_step / (time.monotonic() - started))
                recent = []
            if stop_after is not None and step + 1 - first >= stop_after:
                self.save(self.output, step + 1)
                return False
            if time.monotonic() - saved > save_every:
                self.save(self.output, step + 1)
                saved = time.monotonic()
        if stable == self.steps:
            self.save(self.output / STABLE, self.steps)
        return True

    def take_step(self, step: int, *, continues: Tensor) -> float:
        """Update the weights by one batch, and return its loss. Raises RecipeError if that is not a number."""
        made = self.made_from
        chosen = _rows_of(step, len(self.rows), made["rows_per_step"], made["seed"])
        batch = torch.from_numpy(self.rows[chosen].astype(np.int64))
        generator = torch.Generator().manual_seed(made["seed"] * 1_000_003 + step)
        inputs, labels = mask_words(batch, continues=continues, tokenizer=self.tokenizer, generator=generator)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                step, steps=self.steps, warmup=made["warmup"], decay=made["decay"], peak=made["peak"]
            )
        inputs, labels = inputs.to(self.device), labels.to(self.device)
        loss = _update(self.model, self.optimizer, inputs, labels, precision=made["precision"])
        if not math.isfinite(loss):
            raise RecipeError(f"the loss is {loss} at step {step}; lower the peak rate")
        return loss

    def report(self, done: int, recent: list[float], *, rate: float) -> None:
        """Log the mean loss since the last report, and add it to the curve; `rate` is in word pieces per second."""
        mean = sum(recent) / len(recent)
        left = (self.steps - done) * self.made_from["rows_per_step"] * self.made_from["length"] / rate
        self.log(f"step {done}/{self.steps} loss {mean:.4f} {rate:.0f} tokens/s, {left / 60:.0f} min left")
        add_row(self.output / "loss.jsonl", {"step": done, "loss": mean, "tokens_per_s": round(rate)})

    def save(self, folder: Path, step: int) -> None:
        """Save a checkpoint."""
        place = {"step": step, "steps": self.steps, "made_from": self.made_from}
        save_checkpoint(folder, model=self.model, optimizer=self.optimizer, progress=place)

    def finish(self) -> None:
        """Write the encoder, and delete the checkpoint."""
        self.model.encoder.save_pretrained(self.output)
        self.tokenizer.save_pretrained(self.output)
        for weights in self.output.glob("*.safetensors"):
            share(weights)
        write_text(self.output / DONE, json.dumps(self.made_from | {"steps": self.steps}, indent=1) + "\n")
        remove_checkpoint(self.output)


def _update(
    model: MaskedLanguageModel, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor, *, precision: str
) -> float:
    """Update the weights by one batch, and return its loss."""
    with torch.autocast(inputs.device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        loss = model(inputs, labels)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.item())


def _load(encoder: str) -> tuple[MaskedLanguageModel, PreTrainedTokenizerBase]:
    with reading(encoder, folder=Path()) as name:
        if isinstance(AutoConfig.from_pretrained(name), E2emernConfig):
            raise RecipeError(f"encoder {encoder}: is a model with heads; name the encoder that it was trained from")
        tokenizer, base = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name, dtype=torch.float32)
    check_pieces(encoder, tokenizer=tokenizer, network=base)
    if tokenizer.mask_token_id is None:
        raise RecipeError(f"encoder {encoder}: its tokenizer has no mask, which masked-language pre-training needs")
    for module in base.modules():  # the text is seen a few times at most
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return MaskedLanguageModel(base), tokenizer


def _resume(
    output: Path, made_from: dict[str, Any], steps: int, *, model: nn.Module, optimizer: torch.optim.Optimizer
) -> int | None:
    """Restore the last saved state that a run of `steps` steps shares, and return its step; None if it is finished."""
    done = output / DONE
    too_far = False
    if done.exists():
        found = json.loads(done.read_text())
        check_same(found, made_from, output)
        if found["steps"] == steps:
            return None
        too_far = found["steps"] > steps
    before = stable_steps(steps, made_from["decay"])
    for folder in (output, output / STABLE):
        place = read_progress(folder)
        if place is None:
            continue
        too_far = True
        check_same(place["made_from"], made_from, output)
        if place["steps"] == steps or place["step"] <= min(before, stable_steps(place["steps"], made_from["decay"])):
            load_checkpoint(folder, model=model, optimizer=optimizer)
            return int(place["step"])
    if too_far:
        raise RecipeError(f"{output} has seen more than this budget allows before the rate falls; give more tokens")
    return 0


def _rows_of(step: int, available: int, rows_per_step: int, seed: int) -> np.ndarray:
    """Return the indices of the rows of one step: consecutive parts of one permutation per epoch."""
    per_epoch = max(1, available // rows_per_step)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(available)
    return np.sort(order[place * rows_per_step : (place + 1) * rows_per_step])


def read_lines(text: Path, size: int = 2000) -> Iterator[list[str]]:
    """Return the lines of a text (plain or .xz), `size` at a time. Raises RecipeError if it cannot be read."""
    try:
        with lzma.open(text, "rt", encoding="utf-8") if text.suffix == ".xz" else text.open(encoding="utf-8") as lines:
            while batch := [line.strip() for line in islice(lines, size)]:
                yield batch
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise RecipeError(f"{text}: not a whole text, plain or .xz, in UTF-8: {error}") from error


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Pre-train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.model.training.pretrain", description=__doc__)
    parser.add_argument("--encoder", required=True, help="a transformers folder or hub name to start from")
    parser.add_argument("--text", required=True, type=Path, help="one passage per line, plain or .xz")
    parser.add_argument("--output", required=True, type=Path, help="where the encoder, its checkpoint and curve go")
    parser.add_argument("--tokens", type=int, default=35_000_000, help="word pieces to see (default: %(default)s)")
    parser.add_argument("--peak", type=float, default=5e-4, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--decay", type=float, default=0.2, help="share of the steps in which it falls (%(default)s)")
    parser.add_argument("--rows-per-step", type=int, default=32, help="rows of 128 pieces (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    logging.disable_progress_bar()  # of the weights
    pretrain(**vars(parser.parse_args(arguments)), log=lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())

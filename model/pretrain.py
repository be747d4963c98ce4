"""Continues masked-language pre-training of an encoder on plain text (BERT, Devlin et al. 2019, section 3.1).

Text is packed into rows of equal length once and kept as a memory-mapped file; each step draws its own
random numbers from (seed, step), so a run that is killed and started again gives the same weights as one
that was not. Run it with `python -m model.pretrain --help`.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .checkpoint import load_checkpoint, save_checkpoint

MASKED_SHARE = 0.15


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
        """Mean cross-entropy in nats over the positions where `labels` (rows, length) is not -100."""
        hidden = self.encoder(input_ids=input_ids).last_hidden_state
        chosen = labels != -100  # only masked positions pay for the softmax over the vocabulary
        hidden = self.norm(F.gelu(self.transform(hidden[chosen])))
        embedded = cast(nn.Embedding, self.encoder.get_input_embeddings()).weight
        logits = F.linear(hidden, embedded, self.bias)
        return F.cross_entropy(logits.float(), labels[chosen])


def pack_text(text: Path, *, tokenizer: PreTrainedTokenizerBase, length: int, output: Path) -> np.ndarray:
    """Packs the lines of `text` (plain or .xz) into rows of `length` piece ids and memory-maps them.

    Rows start with [CLS] and end with [SEP]; lines follow each other, separated by [SEP]. Returns int32
    (rows, length). Packs only when `output` does not exist yet.
    """
    if not output.exists():
        body = length - 2
        rows: list[np.ndarray] = []
        rest = np.empty(0, np.int32)
        for lines in _batches(text, 2000):
            encoded = tokenizer(lines, add_special_tokens=False)["input_ids"]
            flat = [rest] + [np.asarray([*ids, tokenizer.sep_token_id], np.int32) for ids in encoded]
            pieces = np.concatenate(flat)
            full = len(pieces) // body
            rows.append(pieces[: full * body].reshape(full, body))
            rest = pieces[full * body :]
        packed = np.concatenate(rows)
        edge = np.ones((len(packed), 1), np.int32)
        packed = np.concatenate([edge * tokenizer.cls_token_id, packed, edge * tokenizer.sep_token_id], axis=1)
        temporary = output.with_name(output.name + ".tmp.npy")
        np.save(temporary, packed.astype(np.int32))
        temporary.rename(output)
    return np.load(output, mmap_mode="r")


def mask_pieces(
    rows: Tensor, *, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Chooses 15 % of the pieces: 80 % become [MASK], 10 % random, 10 % stay (Devlin et al. 2019).

    Returns inputs and labels, both (rows, length); labels are -100 where nothing was chosen.
    """
    special = torch.zeros_like(rows, dtype=torch.bool)
    for piece in tokenizer.all_special_ids:
        special |= rows == piece
    chosen = (torch.rand(rows.shape, generator=generator) < MASKED_SHARE) & ~special
    labels = rows.masked_fill(~chosen, -100)
    how = torch.rand(rows.shape, generator=generator)
    inputs = rows.masked_fill(chosen & (how < 0.8), int(tokenizer.mask_token_id))
    random = torch.randint(len(tokenizer), rows.shape, generator=generator)
    return torch.where(chosen & (how >= 0.9), random, inputs), labels


def learning_rate(step: int, *, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up to `peak`, then cosine decay to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


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
    seed: int = 0,
    device: str = "cpu",
    save_every: float = 300.0,
) -> None:
    """Reads `encoder`, trains it on `tokens` word pieces of `text` and writes a transformers folder to `output`.

    Resumes from `output/checkpoint` if there is one; the loss curve is appended to `output/loss.jsonl`.
    """
    output.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    # No dropout: the text is seen a few times at most, and without it CPUs and GPUs take the fused attention.
    undropped = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = MaskedLanguageModel(AutoModel.from_pretrained(encoder, **undropped)).to(device).train()
    rows = pack_text(text, tokenizer=tokenizer, length=length, output=output / f"pieces.{length}.npy")
    steps = max(1, tokens // (rows_per_step * length))
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    progress: dict[str, Any] = load_checkpoint(output, model=model, optimizer=optimizer) or {"step": 0}
    started, first, saved, recent = time.monotonic(), progress["step"], time.monotonic(), []
    for step in range(first, steps):
        torch.manual_seed(seed * 1_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        batch = torch.from_numpy(rows[_rows_of(step, len(rows), rows_per_step, seed)].astype(np.int64))
        inputs, labels = mask_pieces(batch, tokenizer=tokenizer, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=steps, warmup=warmup, peak=peak)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model(inputs.to(device), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        if len(recent) == 20 or step + 1 == steps:
            rate = (step + 1 - first) * rows_per_step * length / (time.monotonic() - started)
            mean = sum(recent) / len(recent)
            left = (steps - step - 1) * rows_per_step * length / rate
            print(f"step {step + 1}/{steps} loss {mean:.4f} {rate:.0f} tokens/s {left / 60:.0f} min left", flush=True)
            with (output / "loss.jsonl").open("a") as curve:
                curve.write(json.dumps({"step": step + 1, "loss": mean, "tokens_per_s": round(rate)}) + "\n")
            recent = []
        if time.monotonic() - saved > save_every:
            save_checkpoint(output, model=model, optimizer=optimizer, progress={"step": step + 1})
            saved = time.monotonic()
    save_checkpoint(output, model=model, optimizer=optimizer, progress={"step": steps})
    model.encoder.save_pretrained(output)
    tokenizer.save_pretrained(output)


def _rows_of(step: int, available: int, rows_per_step: int, seed: int) -> np.ndarray:
    """Indices of the rows of one step: consecutive pieces of one permutation per epoch."""
    per_epoch = max(1, available // rows_per_step)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(available)
    return np.sort(order[place * rows_per_step : (place + 1) * rows_per_step])


def _batches(text: Path, size: int) -> Iterator[list[str]]:
    with lzma.open(text, "rt", encoding="utf-8") if text.suffix == ".xz" else text.open(encoding="utf-8") as lines:
        batch: list[str] = []
        for line in lines:
            batch.append(line.strip())
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def main(arguments: list[str] | None = None) -> int:
    """Pre-trains from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.pretrain", description=__doc__)
    parser.add_argument("--encoder", required=True, help="a transformers folder or hub name to start from")
    parser.add_argument("--text", required=True, type=Path, help="one passage a line, plain or .xz")
    parser.add_argument("--output", required=True, type=Path, help="where the encoder, its checkpoint and curve go")
    parser.add_argument("--tokens", type=int, default=35_000_000, help="word pieces to see (default: %(default)s)")
    parser.add_argument("--peak", type=float, default=5e-4, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--rows-per-step", type=int, default=32, help="rows of 128 pieces (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    pretrain(**vars(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The entity bank: every name of every concept, encoded once and searched exhaustively.

A vector h_e has 384 floats, and there are hundreds of thousands of names. So the bank keeps each name as `rank` signed
bytes in the basis of the largest principal components (Pearson 1901): h_e = mean + (scale * codes) basis. Scores of a
text with the whole bank are one matrix product in that basis; the mid and high levels expand the few best h_e from
their codes. With `rank` = hidden size, only rounding is lost.

    python -m e2emern.model.inference.bank MODEL --mesh FILE      encodes a vocabulary into MODEL/bank.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.cli import fails_in_one_line
from e2emern.model.errors import first_line
from e2emern.model.files import atomic_path, share
from e2emern.model.inference.resumable import open_part
from e2emern.model.inference.segments import best_of_runs, ranges_of, reduce_runs, starts_of
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_batch, fastest_dtype
from e2emern.model.pretrained import load_model
from e2emern.model.progress import Progress, each_tenth, silent
from e2emern.model.tokenization import batches_of, pad
from e2emern.model.version import encoder_digest
from e2emern.model.vocabulary import Vocabulary, bag_of_words

LONGEST_NAME = 64  # word pieces
_ENTRY = "e2emern"
_LOG = logging.getLogger("e2emern")
ENCODED = "word pieces"  # the unit of progress: time is proportional to them, not to names


class EntityBank:
    """The encoded names of a vocabulary, for one model.

    Rows follow the vocabulary's order. Names of a concept that differ only by word order or plural share a row.

    Attributes:
        codes: int8 (rows, R).
        owner: int32 (rows,), position of the row's concept.
        first_row: int64 (concepts + 1,), the row at which each concept's rows begin.
    """

    def __init__(self, *, codes: Tensor, scale: Tensor, basis: Tensor, mean: Tensor, owner: np.ndarray) -> None:
        self.codes, self.scale, self.basis, self.mean, self.owner = codes, scale, basis, mean, owner
        self.first_row = np.searchsorted(owner, np.arange(int(owner[-1]) + 2))
        coordinates = codes.float() * scale
        # |mean + z B|^2 for a basis B of orthonormal rows.
        squares = mean.square().sum() + 2 * coordinates @ (basis @ mean) + coordinates.square().sum(1)
        self._inverse_length = squares.clamp(min=1e-6).rsqrt()
        # If bf16 is fast, it halves the bytes that a search reads; products of int8 codes would need their own kernel.
        self._searched = coordinates.to(fastest_dtype("cpu"))
        # With the mean's part of the product as a last column, a cosine is one matrix product too.
        lengths = self._inverse_length[:, None]
        self._directions = torch.cat([coordinates * lengths, lengths], dim=1).to(fastest_dtype("cpu"))

    def __len__(self) -> int:
        return len(self.codes)

    def to(self, device: str) -> EntityBank:
        """Return a copy of the bank on a device."""
        moved = object.__new__(EntityBank)
        moved.__dict__.update(self.__dict__)
        for name in ("codes", "scale", "basis", "mean", "_searched", "_directions", "_inverse_length"):
            setattr(moved, name, getattr(self, name).to(device))
        for name in ("_searched", "_directions"):
            setattr(moved, name, getattr(moved, name).to(fastest_dtype(device)))
        return moved

    def vectors(self, rows: Tensor) -> Tensor:
        """Return h_e of the given rows: (...) to float32 (..., D)."""
        return self.mean + (self.codes[rows].float() * self.scale) @ self.basis

    def search(self, queries: Tensor, *, within: slice, k: int, cosine: bool = False) -> list[list[int]]:
        """Return, for each query q, the k concepts with the largest q . h_e of their best names, best first.

        Fewer than k if there are fewer concepts.

        Args:
            queries: float (S, D); for the bilinear attention q = W' h_i, averaged over a span.
            within: the concepts to search, a slice of the vocabulary.
            cosine: divide by the length of h_e.
        """
        first, last = int(self.first_row[within.start]), int(self.first_row[within.stop])
        projected = queries.float() @ self.basis.T
        if cosine:
            projected = torch.cat([projected, (queries.float() @ self.mean)[:, None]], dim=1)
        searched = (self._directions if cosine else self._searched)[first:last]
        found = []
        all_scores = searched.new_empty(last - first, 128)  # 140 k x 128 at a time: 35 MB, allocated once
        for begin in range(0, len(queries), 128):
            some = projected[begin : begin + 128].to(searched.dtype)
            scores = torch.mm(searched, some.T, out=all_scores[:, : len(some)])
            rows = greatest(scores, min(4 * k, last - first)).cpu().numpy() + first
            for row, best in enumerate(self.owner[rows].tolist()):
                concepts = list(dict.fromkeys(best))
                read = len(best)
                while len(concepts) < k and read < last - first:  # some concepts have many names among the best
                    read = min(4 * read, last - first)
                    deeper = scores[:, row].topk(read).indices.cpu().numpy() + first
                    concepts = list(dict.fromkeys(self.owner[deeper].tolist()))
                found.append(concepts[:k])
        return found

    def compare(
        self, concepts: np.ndarray, owner: np.ndarray, *, contexts: Tensor, names: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score concepts (C,) by their best names: q . h_e of a context, and the cosine with a name.

        Return the rows of the nearest names by cosine, the scores and the cosines, (C,) each.

        Args:
            owner: int64 (C,), the context and name that each concept is compared with.
            contexts, names: float (G, D).
        """
        counts = self.first_row[concepts + 1] - self.first_row[concepts]
        first = starts_of(counts)
        rows = ranges_of(self.first_row[concepts], counts)
        queries = torch.stack([contexts, names / names.norm(dim=1, keepdim=True)], dim=1)  # (G, 2, D)
        projected, of_mean = queries @ self.basis.T, queries @ self.mean
        scores = np.empty((2, len(rows)), np.float32)
        for begin in range(0, len(rows), 2**13):  # this many names fit into the caches of a processor
            of = slice(begin, begin + 2**13)
            at, asks = (self._moved(each[of]) for each in (rows, np.repeat(owner, counts)))
            coordinates = self.codes[at].float() * self.scale
            products = (projected[asks] @ coordinates[:, :, None])[:, :, 0] + of_mean[asks]
            products[:, 1] *= self._inverse_length[at]
            scores[:, of] = products.T.cpu().numpy()
        similarity, likeness = (reduce_runs(np.maximum, each, first, empty=0.0) for each in scores)
        return rows[best_of_runs(scores[1], first)], similarity, likeness

    def _moved(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(index).to(self.codes.device)

    def save(self, path: Path, *, encoder: str, vocabulary: Vocabulary) -> None:
        """Write the bank as safetensors, whole or not at all; several processes may write the same one."""
        tensors = {
            "codes": self.codes.cpu().contiguous(),
            "scale": self.scale.cpu().contiguous(),
            "basis": self.basis.cpu().half().contiguous(),
            "mean": self.mean.cpu().contiguous(),
            "owner": torch.from_numpy(self.owner),
        }
        # One entry, since safetensors writes several in any order: the version of a model covers the bytes of its bank.
        metadata = {_ENTRY: json.dumps(_key(encoder, vocabulary) | {"sha256": _digest(tensors)}, sort_keys=True)}
        with atomic_path(path, suffix=f".{os.getpid()}.tmp") as temporary:
            save_file(tensors, temporary, metadata=metadata)
            share(temporary)

    @classmethod
    def load(cls, path: Path, *, encoder: str, vocabulary: Vocabulary) -> EntityBank | None:
        """Read a saved bank; None if there is none, or if it was built for another encoder or vocabulary.

        Also None, with a warning, for a damaged bank: its metadata holds the digest of its tensors.
        """
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                found = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
                written = found.pop("sha256", None)
                if found != _key(encoder, vocabulary):
                    return None
                # Copies, because kernels round differently at other alignments than those of the bank as built.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, ValueError) as error:
            _LOG.warning("%s is damaged (%s); the bank is built again", path, first_line(error))
            return None
        if written != _digest(tensors):
            _LOG.warning("%s is damaged (its SHA-256 differs); the bank is built again", path)
            return None
        owner = tensors.pop("owner").numpy()
        return cls(**{name: t if name == "codes" else t.float() for name, t in tensors.items()}, owner=owner)

    @classmethod
    def build(
        cls,
        model: E2emernModel,
        vocabulary: Vocabulary,
        *,
        tokenizer: PreTrainedTokenizerBase,
        rank: int = 96,
        tokens: int | None = None,
        part: Path | None = None,
        progress: Progress = silent,
    ) -> EntityBank:
        """Encode the names of a vocabulary: about 2 minutes for 250 k names on 2 cores.

        Args:
            rank: how many principal components to keep; the hidden size at most.
            tokens: word pieces in one batch; by default the fastest number on the device.
            part: file that keeps the encoded names, so that a killed run can be resumed (`part.Part`).
            progress: called before the first batch, with the word pieces of an earlier run, and after each batch.
        """
        kept, owner = distinct_names(vocabulary)
        names = [vocabulary.names[at] for at in kept]
        vectors = encode_names(model, names, tokenizer=tokenizer, tokens=tokens, part=part, progress=progress)
        mean = vectors.mean(0)
        centred = vectors - mean
        _, components = torch.linalg.eigh(centred.T @ centred)
        basis = components.T.flip(0)[:rank].contiguous()  # largest first
        coordinates = centred @ basis.T
        scale = coordinates.abs().amax(0).clamp(min=1e-6) / 127
        codes = (coordinates / scale).round().to(torch.int8)
        return cls(codes=codes, scale=scale, basis=basis.half().float(), mean=mean, owner=owner)


def greatest(scores: Tensor, count: int, *, block: int = 64) -> Tensor:
    """Return the rows of the `count` greatest scores of each column, greatest first: (N, S) to int64 (S, count).

    Each of them is in one of the `count` blocks of rows with the greatest maxima, so that only those are sorted. The
    maxima of rows, not of columns, since a processor takes those of many columns at once.
    """
    blocks = len(scores) // block
    if blocks <= count:
        return scores.T.topk(count, dim=1).indices
    whole, rest = scores[: blocks * block].unflatten(0, (blocks, block)), scores[blocks * block :]
    best = whole.amax(1).T.contiguous().topk(count, dim=1).indices
    columns = torch.arange(len(best), device=best.device)[:, None]
    rows = (best[:, :, None] * block + torch.arange(block, device=best.device)).flatten(1)
    tail = torch.arange(blocks * block, len(scores), device=best.device).expand(len(best), -1)
    likely = torch.cat([whole[best, :, columns].flatten(1), rest.T], dim=1)
    return torch.cat([rows, tail], dim=1).gather(1, likely.topk(count, dim=1).indices)


def read_bank(folder: Path, vocabulary: Vocabulary) -> EntityBank | None:
    """Return the bank of a model folder; None if there is none of its encoder and this vocabulary."""
    return EntityBank.load(folder / "bank.safetensors", encoder=encoder_digest(folder), vocabulary=vocabulary)


def build_bank(
    folder: Path,
    vocabulary: Vocabulary,
    *,
    rank: int = 96,
    device: str = "cpu",
    progress: Progress = silent,
) -> None:
    """Encode a vocabulary for a model folder and write the bank there; resume a killed run."""
    model, tokenizer, _ = load_model(folder, device=device)
    make_bank(
        folder / "bank.safetensors",
        model,
        vocabulary,
        tokenizer=tokenizer,
        encoder=encoder_digest(folder),
        rank=rank,
        progress=progress,
    )


def make_bank(
    path: Path,
    model: E2emernModel,
    vocabulary: Vocabulary,
    *,
    tokenizer: PreTrainedTokenizerBase,
    encoder: str,
    rank: int = 96,
    progress: Progress = silent,
) -> EntityBank:
    """Encode a vocabulary and write the bank to a path; resume a killed run, or wait for a process that builds it."""
    part = path.with_name(f"bank.{encoder}.{vocabulary.digest}.part")
    bank = EntityBank.build(model, vocabulary, tokenizer=tokenizer, rank=rank, part=part, progress=progress)
    bank.save(path, encoder=encoder, vocabulary=vocabulary)
    part.unlink(missing_ok=True)
    return bank


def distinct_names(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the names to encode, one for each concept and bag of words, and their concepts."""
    kept, owner, seen = [], [], set()
    for at, (name, concept) in enumerate(zip(vocabulary.names, vocabulary.name_owner.tolist(), strict=True)):
        key = (concept, bag_of_words(name))
        if key not in seen:
            seen.add(key)
            kept.append(at)
            owner.append(concept)
    return np.array(kept, np.int64), np.array(owner, np.int32)


@torch.inference_mode()
def encode_names(
    model: E2emernModel,
    names: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int | None = None,
    part: Path | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Return h_e of every name, float32 (names, D) on the CPU; batches hold names of similar length.

    Args:
        tokens, part, progress: as for `EntityBank.build`.
    """
    tokens = tokens or fastest_batch(str(model.device))
    encoded = tokenizer(list(names), truncation=True, max_length=LONGEST_NAME)["input_ids"]
    size = model.encoder.config.hidden_size
    vectors = torch.empty(len(names), size)
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    done, total, began = 0, int(lengths.sum()), False
    of = (str(model.device), str(model.dtype), str(tokens), *names)
    with open_part(part, of=of, size=size) if part else nullcontext() as kept:
        for batch in batches_of(lengths.tolist(), tokens=tokens):
            pooled = kept.take(len(batch)) if kept else None
            if pooled is None and not began:
                began = True
                progress(ENCODED, done, total)
            done += int(lengths[batch].sum())
            if pooled is None:
                ids, mask = pad([np.asarray(encoded[at]) for at in batch], padding=tokenizer.pad_token_id)
                pooled = model.encode_names(ids.to(model.device), mask.to(model.device)).float().cpu()
                if kept:
                    kept.add(pooled)
                progress(ENCODED, done, total)
            vectors[torch.from_numpy(batch)] = pooled
    return vectors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(np.ascontiguousarray(tensor.numpy()).data)
    return hashed.hexdigest()


def _key(encoder: str, vocabulary: Vocabulary) -> dict[str, str]:
    return {"encoder": encoder, "mesh_version": vocabulary.version, "vocabulary": vocabulary.digest}


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Build the bank of a model from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m e2emern.model.inference.bank", description="Encode a vocabulary for a model."
    )
    parser.add_argument("model", type=Path, help="model folder; the bank becomes its bank.safetensors")
    parser.add_argument("--mesh", required=True, type=Path, help="entities table, Parquet")
    parser.add_argument("--rank", type=int, default=96, help="principal components to keep (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    build_bank(
        options.model,
        Vocabulary.read(options.mesh),
        rank=options.rank,
        device=options.device,
        progress=each_tenth(lambda line: print(line, flush=True)),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

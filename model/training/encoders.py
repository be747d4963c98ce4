"""Reads the encoder that a training starts from; errors are one line with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from e2emern.model.training.recipe import RecipeError, find_encoder

LONGEST_REASON = 300  # letters; transformers can name every architecture that it knows


@contextmanager
def reading(encoder: str, *, folder: Path) -> Iterator[str]:
    """Yield the place of an encoder, to read it from (`recipe.find_encoder`).

    Raises:
        MissingExtraError: it is in the package that the extra `train` installs.
        RecipeError: it cannot be read, or the hub does not answer.
    """
    name = find_encoder(encoder, folder=folder)
    try:
        _ask_hub(name)
        yield name
    except RecipeError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        places = "a folder, a folder of an installed package, or a name of the hub"
        raise RecipeError(f"encoder {encoder}: expected {places}: {reason}") from error


def check_pieces(encoder: str, *, tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel) -> None:
    """Raise RecipeError if a tokenizer is not the encoder's own.

    For a folder without a tokenizer, transformers makes an empty one.
    """
    pieces, embedded = len(tokenizer), len(cast(nn.Embedding, network.get_input_embeddings()).weight)
    if not embedded / 2 <= pieces <= embedded:  # tables are padded, but never to twice the size
        expected = f"expected the encoder's own, of {embedded:,}"
        raise RecipeError(f"encoder {encoder}: found a tokenizer of {pieces:,} word pieces, {expected}")


def _ask_hub(name: str) -> None:
    """Ask the hub once for an encoder that is neither a folder nor cached; transformers would retry for a minute.

    Raises:
        OSError: the hub does not answer.
    """
    if Path(name).is_dir():
        return
    try:
        if try_to_load_from_cache(name, "config.json") is None:
            get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except (HfHubHTTPError, ValueError):
        return  # not a name of the hub: transformers reports that
    except Exception as error:  # HTTP clients raise errors of many types: the hub cannot be reached
        raise OSError(f"no such folder, and the hub does not answer: {error}") from error

"""The most that one thread of a host can annotate: all of `annotate_source`, with an encoder that takes no time.

A first annotation records the output of the encoder for each batch of sentences and of names. The timed ones replay it,
as if the encoder ran on an infinitely fast device. What remains is the work of the host, in seconds of processor time,
which hardly depend on other work of the machine. Each begins with empty caches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measuring import Result, Setting, cascade_of, corpus_of
from e2emern.model.inference.candidates import REMEMBERED
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.features import closest_spelling
from e2emern.model.inference.lookup import LookUps
from e2emern.model.inference.remembered import Remembered
from e2emern.model.vocabulary import normalised
from e2emern.tasks.annotate import Annotated, annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.sources import find_sources


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Counts the operations of torch, views included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.count = 0

    def __torch_dispatch__(self, called: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        self.count += 1
        return called(*given, **(named or {}))


def host_ceiling(setting: Setting) -> Result:
    """Return the abstracts per second of processor time of one thread, and the operations of torch per abstract."""
    corpus = corpus_of(setting, name="annotated.xml.gz", abstracts=setting.abstracts)
    [source] = find_sources([corpus.path])
    cascade = cascade_of(setting)

    def annotate() -> Annotated:
        setting.home.documents(source.key).unlink(missing_ok=True)  # so that it is parsed each time
        return annotate_source(source, annotator=InProcess(cascade), home=setting.home)

    seconds, annotated = [], []
    with _one_thread(), _replayed(cascade):
        annotate()
        for _ in range(setting.rounds):
            forget(cascade)
            begun = time.process_time()
            annotated.append(annotate())
            seconds.append(time.process_time() - begun)
        with _Operations() as operations:
            annotate()
    rates = [corpus.abstracts / each for each in seconds]
    return {
        "ratio": round(median(rates), 1),
        "min": round(min(rates), 1),
        "max": round(max(rates), 1),
        "target": ">= 200",
        "operations_per_abstract": round(operations.count / corpus.abstracts, 1),
        "most_operations_per_abstract": 10,
        "processor_seconds": [round(each, 3) for each in seconds],
        **corpus.described(),
        "mentions": annotated[0].mentions,
        "remembered": annotated[0].report.shares,
        "seconds_of_stages": {
            stage: round(median(one.report.seconds[stage] for one in annotated), 3)
            for stage in annotated[0].report.seconds
        },
    }


def forget(cascade: Cascade) -> None:
    """Empty the caches of a cascade, as at the start of a process."""
    cascade.look_ups = LookUps(cascade.vocabulary, cascade.resolver.strings)
    cascade.candidates.encoded, cascade.candidates.nearest = Remembered(REMEMBERED), Remembered(REMEMBERED)
    for remembered in (closest_spelling, normalised):
        remembered.cache_clear()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _replayed(cascade: Cascade) -> Iterator[None]:
    """Run the encoder of a cascade only once for each batch, and replay its output afterwards."""
    encoder = cascade.model.encoder
    run = encoder.forward
    kept: dict[tuple[tuple[int, ...], bytes], Tensor] = {}

    def replay(*, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        key = (tuple(input_ids.shape), input_ids.cpu().numpy().tobytes())
        if key not in kept:
            kept[key] = run(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SimpleNamespace(last_hidden_state=kept[key])

    with patch.object(encoder, "forward", replay):
        yield

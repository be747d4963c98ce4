"""A retraining with a budget of hours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from e2emern.model.training.trainer import Trainer
from e2emern.tasks.errors import InputError
from e2emern.warehouse.layout import Home
from tests.flows.challengers import crown, make_challengers
from tests.flows.test_retrain import on_dev, retrained
from tests.flows.world import World


@pytest.fixture
def an_hour_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a training takes an hour."""
    now, take_step = [0.0], Trainer.take_step

    def slow(*given: Any) -> None:
        now[0] += 3600
        take_step(*given)

    monkeypatch.setattr(Trainer, "take_step", slow)
    monkeypatch.setattr("e2emern.model.training.train.time", SimpleNamespace(monotonic=lambda: now[0]))


@pytest.mark.usefixtures("an_hour_a_step")
def test_a_budget_cuts_a_training_and_a_larger_one_trains_again(world: World, tmp_path: Path) -> None:
    data = make_challengers(tmp_path / "data", world)
    home, logged = Home(tmp_path / "home"), list[str]()
    crown(home, world.model)
    given: dict[str, Any] = {"encoder": "recipe", "gold": on_dev(data), "log": logged.append}
    with pytest.raises(
        InputError, match=r"not trained: an epoch takes about .* hours on this host, but max_hours is 2"
    ):
        retrained(home, data, world, "bad", max_hours=2, **given)
    (needs,) = [line for line in logged if " of disk, " in line]
    assert needs.startswith("6 epochs; up to 0.0 GB of disk, ")
    (measured,) = [line for line in logged if line.startswith("on this host: ")]
    each = float(measured.split(", ")[1].split()[0])
    done = retrained(home, data, world, "bad", max_hours=2.5 * each, **given)
    assert done.summary.endswith(f"; trained for 2 of 6 epochs, as many as fit into max_hours {2.5 * each:g}")
    again = retrained(home, data, world, "bad", max_hours=2.5 * each, **given)
    assert again.judged == done.judged
    whole = retrained(home, data, world, "bad", **given)
    assert whole.judged is not None
    assert done.judged is not None
    assert whole.judged.challenger != done.judged.challenger

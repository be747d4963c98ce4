"""Which run of a batch is lost: a slow worker is not, a killed one is."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType

from e2emern.flows.liveness import Liveness

PENDING, RUNNING, SCHEDULED = StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED
KILLED = "its worker was killed: no source was locked for 60 s (setting unlocked)"
SLOW = "its worker took it and never began in 300 s (setting patience)"


@pytest.mark.parametrize(
    ("polls", "lost"),
    [
        ([(RUNNING, False)] * 6, None),  # a worker that is slow to lock its sources
        ([(RUNNING, False)] * 7, KILLED),
        (
            [(RUNNING, False)] * 6 + [(RUNNING, True)] + [(RUNNING, False)] * 6,
            None,
        ),  # it ends, but its files appear late
        ([(RUNNING, True)] + [(RUNNING, False)] * 7, KILLED),
        ([(RUNNING, True)] * 99, None),
        ([(SCHEDULED, False)] * 99, None),  # no worker is free
        ([(PENDING, False)] * 30 + [(RUNNING, False)] * 6, None),
        ([(PENDING, False)] * 31, SLOW),
        ([(StateType.COMPLETED, False)] * 99, None),
    ],
)
def test_a_run_is_lost_only_if_its_sources_stay_unlocked(polls: list[tuple[StateType, bool]], lost: str | None) -> None:
    liveness = Liveness(poll=10.0, patience=300.0, unlocked=60.0)
    *before, last = [liveness.find_loss(state, locked=locked) for state, locked in polls]
    assert (set(before) - {None}, last) == (set(), lost)


def test_one_poll_is_never_enough() -> None:
    liveness = Liveness(poll=600.0, patience=300.0, unlocked=60.0)
    assert [liveness.find_loss(RUNNING, locked=False) is None for _ in range(2)] == [True, False]


def test_a_slow_start_doubles_the_patience_and_is_not_a_death() -> None:
    """Cause: a pod that needed longer than `patience` to start was abandoned after five attempts."""
    slow, dead = (Liveness(poll=10.0, patience=300.0, unlocked=60.0) for _ in range(2))
    for _ in range(31):
        slow.find_loss(PENDING, locked=False)
    for _ in range(7):
        dead.find_loss(RUNNING, locked=False)
    assert [one.of_next_run().patience for one in (slow, dead)] == [600.0, 300.0]
    assert slow.of_next_run().find_loss(PENDING, locked=False) is None

"""Decide whether a worker still processes a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from prefect.client.schemas.objects import StateType


@dataclass(slots=True, kw_only=True)
class Liveness:
    """Decide at each poll of a run whether a worker still processes it.

    Time counts from one answer of the server to the next, so an outage of the server makes no run look lost.

    Attributes:
        poll: seconds between two polls.
        patience: seconds after which a run is lost if a worker took it and did not start it.
        unlocked: seconds after which a running run is lost if no worker has locked one of its sources.
    """

    poll: float
    patience: float
    unlocked: float
    pending_s: float = field(default=0.0, init=False)
    unlocked_s: float = field(default=0.0, init=False)

    def find_loss(self, state: StateType, *, locked: bool) -> str | None:
        """Return why no worker processes a run with this state and these locks; None if one may."""
        if state == StateType.PENDING:
            if self.pending_s >= self.patience:
                return f"its worker took it and never began in {self.patience:,.0f} s (setting patience)"
            self.pending_s += self.poll
        if state == StateType.RUNNING:
            if not locked and self.unlocked_s >= self.unlocked:
                return f"its worker was killed: no source was locked for {self.unlocked:,.0f} s (setting unlocked)"
            self.unlocked_s = 0.0 if locked else self.unlocked_s + self.poll
        return None

    def of_next_run(self) -> Liveness:
        """Return the `Liveness` for the next run of the batch, with twice the patience if this run never began.

        A slow start of a host or a container does not count as a death of a worker.
        """
        slow = self.pending_s >= self.patience
        return replace(self, patience=self.patience * 2 if slow else self.patience)

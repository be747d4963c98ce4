"""The time that a training takes on this host, and the epochs that fit into a budget of hours.

The speed is measured in the first minute and again after each epoch. A budget only ever ends a training after a whole
epoch, and the learning rate is planned for the epochs that fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from e2emern.model.training.recipe import RecipeError

MEASURED_AFTER_S = 60.0


def epochs_that_fit(steps: Sequence[int], *, at: int, seconds_a_step: float, seconds_left: float) -> int:
    """Return how many epochs end within the time that is left.

    Args:
        steps: number of steps of each epoch.
        at: step that the training has reached.
        seconds_a_step: measured on this host.
        seconds_left: seconds left in the budget; may be negative.
    """
    return sum(max(0, end - at) * seconds_a_step <= max(0.0, seconds_left) for end in accumulate(steps))


def none_fits(epoch_s: float, max_hours: float) -> RecipeError:
    """Return the error of a training whose budget is too small for an epoch."""
    return RecipeError(
        f"not trained: an epoch takes about {in_hours(epoch_s)} on this host, but max_hours is {max_hours:g}; raise "
        "max_hours (setting, or parameter of the run), train on a faster host, or take a smaller recipe"
    )


def in_hours(seconds: float) -> str:
    """Return a duration in words: `40 s`, `12 min`, `3.4 hours`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} hours"

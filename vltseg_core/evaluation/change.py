# SPDX-License-Identifier: Apache-2.0
"""A figure of two runs: by how much it changed, and whether that is more than noise."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.evaluation import bootstrap
from vltseg_core.evaluation.bootstrap import NO_INTERVAL, Interval


class Verdict(Enum):
    """What a change amounts to, in words."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "no more than noise"
    UNKNOWN = "spread not known"


class Spread(NamedTuple):
    """Where a change's interval comes from.

    is_paired: whether both runs' figures were drawn from the same units with the same weights; else each from its own.
    units: how many of what, such as "12 drives"; empty where nothing is known of the spread.
    """

    is_paired: bool = False
    units: str = ""

    def __str__(self) -> str:
        return f"{'paired' if self.is_paired else 'independent'}, {self.units}" if self.units else "none"


NO_SPREAD = Spread()


class Change(NamedTuple):
    """A figure before and after, and the 95 % interval of what was added to it; NaN for what is not known."""

    before: float
    after: float
    interval: Interval
    spread: Spread
    more_is_better: bool = True

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def is_known(self) -> bool:
        """Whether both runs have the figure."""
        return not np.isnan(self.difference)

    @property
    def verdict(self) -> Verdict:
        """More than noise where the interval leaves 0 out."""
        low, high = self.interval
        if self.difference == 0 or low <= 0 <= high:
            return Verdict.NOISE
        if np.isnan(low):
            return Verdict.UNKNOWN
        return Verdict.BETTER if (low > 0) == self.more_is_better else Verdict.WORSE


def change_of(
    before: float,
    after: float,
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    spread: Spread,
    *,
    more_is_better: bool = True,
) -> Change:
    """The change of a figure whose values in R resamples of each run are `drawn`, float64 [R] each; None: of no spread."""
    interval = bootstrap.interval(drawn[1] - drawn[0]) if drawn is not None else NO_INTERVAL
    known = not np.isnan(interval.low)
    return Change(before, after, interval, spread if known else NO_SPREAD, more_is_better)

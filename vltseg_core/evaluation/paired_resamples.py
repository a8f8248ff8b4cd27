# SPDX-License-Identifier: Apache-2.0
"""The resamples of two runs over one bag, drawn with the same weights where both judged the same units.

What a hard drive does to one run it does to the other: with the same weights on the same drives it cancels out of the
difference, which two intervals side by side cannot see. Where the units differ (a single drive, of which each run dropped
other frames, so that its blocks are not the same frames), each run is drawn for itself.
U is the number of units, R the number of resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.evaluation import bootstrap, calibration
from vltseg_core.evaluation.bootstrap import NUM_RESAMPLES, SEED, Resamples
from vltseg_core.evaluation.change import NO_SPREAD, Spread
from vltseg_core.evaluation.sequence_result import BLOCK_FRAMES, ResultGroup, SequenceResult

_DRIVES, _BLOCKS = "drives", f"blocks of {BLOCK_FRAMES} frames"
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
"""A figure of the run before and of the one after, in each resample: float64 [R] each."""


class Stratum(NamedTuple):
    """One condition of both runs, drawn anew. num_units: of the run that has fewer; one unit has no spread."""

    before: Resamples
    after: Resamples
    is_paired: bool
    num_units: int
    unit_name: str

    @property
    def spread(self) -> Spread:
        """What the resamples say of it."""
        return spread_of([self])


def draw_stratum(before: ResultGroup, after: ResultGroup, number: int) -> Stratum | None:
    """Draw a condition, the `number`-th; None where one of the runs has no ground truth in it."""
    is_paired = _have_same_units(before, after)
    drawn = before.resamples(_generator(0, number)), after.resamples(_generator(0 if is_paired else 1, number))
    if drawn[0] is None or drawn[1] is None:
        return None
    name = _DRIVES if before.has_several_drives and after.has_several_drives else _BLOCKS
    return Stratum(drawn[0], drawn[1], is_paired, min(before.num_units, after.num_units), name)


def spread_of(strata: Sequence[Stratum]) -> Spread:
    """What the spread of all these together comes from; paired where all are that have a spread."""
    varied = [stratum for stratum in strata if stratum.num_units > 1]
    if not varied:
        return NO_SPREAD
    counts: Counter[str] = Counter()
    for stratum in varied:
        counts[stratum.unit_name] += stratum.num_units
    return Spread(all(stratum.is_paired for stratum in varied), " and ".join(f"{n} {name}" for name, n in counts.items()))


def pool(strata: Sequence[Stratum]) -> tuple[Resamples, Resamples]:
    """All conditions' pixels together, of the run before and of the one after."""
    return bootstrap.pool([one.before for one in strata]), bootstrap.pool([one.after for one in strata])


def draw_frames(
    before: ResultGroup, after: ResultGroup, figure: Callable[[ResultGroup], Callable[[NDArray[np.float64]], float]]
) -> tuple[Pair | None, Spread]:
    """A figure of the frames' timings under random weights of blocks of frames, the same for both runs.

    figure: makes of a run what gives the figure for weights float64 [N], one a frame in the order of `timings`.
    """
    block_of: list[int] = []
    for sequence in before.sequences:
        first = block_of[-1] + 1 if block_of else 0
        block_of += [first + index // BLOCK_FRAMES for index in range(len(sequence.timings))]
    num_blocks = block_of[-1] + 1 if block_of else 0
    if num_blocks < 2:
        return None, NO_SPREAD
    weights = num_blocks * _generator(2, 0).dirichlet(np.ones(num_blocks), NUM_RESAMPLES)
    of_frame = np.asarray(block_of)
    runs = figure(before), figure(after)
    drawn = [np.array([run(row[of_frame]) for row in weights]) for run in runs]
    return (drawn[0], drawn[1]), Spread(True, f"{num_blocks} {_BLOCKS}")


def draw_drives(
    before: Sequence[ResultGroup], after: Sequence[ResultGroup], figure: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[Pair | None, Spread]:
    """A figure of counts that are known by drive only, the same drives with the same weights in both runs.

    before, after: the conditions. figure: of counts float64 [R, C] as `drive_counts` orders them, its values float64 [R].
    """
    num_units = sum(len(group.sequences) for group in before if len(group.sequences) > 1)
    if not num_units:
        return None, NO_SPREAD
    totals: list[NDArray[np.float64]] = []
    for run in (before, after):
        total = np.zeros((NUM_RESAMPLES, 2 * calibration.NUM_LEVELS + 2))
        for number, group in enumerate(run):
            drives = np.stack([drive_counts(sequence) for sequence in group.sequences])  # [U, C]
            total += len(drives) * _generator(3, number).dirichlet(np.ones(len(drives)), NUM_RESAMPLES) @ drives
        totals.append(total)
    return (figure(totals[0]), figure(totals[1])), Spread(True, f"{num_units} {_DRIVES}")


def drive_counts(sequence: SequenceResult) -> NDArray[np.float64]:
    """Pixels by confidence, right ones by confidence, pixels that held still and changed ones: float64 [514]."""
    own, flicker = sequence.calibration, sequence.flicker
    return np.concatenate([own.num_pixels, own.num_right, [flicker.num_still, flicker.num_changed]]).astype(np.float64)


def _have_same_units(before: ResultGroup, after: ResultGroup) -> bool:
    """Whether both judged the same drives or, of one drive, the same frames: the truth of each block is the same."""
    if before.has_several_drives and after.has_several_drives:
        drives = [[one.sequence for one in group.sequences if one.blocks] for group in (before, after)]
        return drives[0] == drives[1]
    truths = [[unit.counts.sum(axis=1).tolist() for unit in group.units] for group in (before, after)]
    return truths[0] == truths[1]


def _generator(stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng((SEED, stream, number))

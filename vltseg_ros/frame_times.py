# SPDX-License-Identifier: Apache-2.0
"""When a data set's frames were taken, from the numbers in their file names where they have any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class FramePlace(NamedTuple):
    """Where a frame stands: its drive, empty where the name tells none, and its number on it."""

    sequence: str = ""
    number: int | None = None


class FrameNaming(NamedTuple):
    """How file names tell sequence and frame number, and the rate that the numbers count at."""

    pattern: re.Pattern[str]
    rate_hz: float


NAMINGS = {
    # Brostow et al., 2009: filmed and numbered at 30 Hz, labelled at 1 Hz, in part at 15 Hz
    "camvid": FrameNaming(re.compile(r"(?P<sequence>[^_]+)_f?(?P<number>\d+)"), 30.0),
    # Cordts et al., 2016: 17 Hz
    "cityscapes": FrameNaming(re.compile(r"(?P<sequence>[a-zA-Z-]+_\d+)_(?P<number>\d+)"), 17.0),
    # the paper says no rate; 30 Hz is what its camera, a GoPro Hero 5 at 1080p, films at unless set otherwise
    "acdc": FrameNaming(re.compile(r"(?P<sequence>G[^_]+)_frame_(?P<number>\d+)"), 30.0),
}
"""Data sets whose file names count frames."""


def place_of(file_stem: str, naming: FrameNaming | None) -> FramePlace:
    """The place that a file's name tells; an empty one where it tells none."""
    match = naming.pattern.match(file_stem) if naming is not None else None
    return FramePlace(match["sequence"], int(match["number"])) if match else FramePlace()


def times_s(places: Sequence[FramePlace], *, numbers_hz: float | None, rate_hz: float, max_gap_s: float) -> list[float]:
    """Seconds from the first frame on, always growing.

    numbers_hz: the rate that frame numbers count at; None to pace all frames at `rate_hz`, as those without numbers are.
    max_gap_s: longer pauses are shortened to it, and it lies between one sequence and the next.
    """
    times = [0.0][: len(places)]
    for before, place in zip(places, places[1:], strict=False):
        gap_s = 1 / rate_hz
        if place.sequence != before.sequence:
            gap_s = max_gap_s
        elif numbers_hz is not None and before.number is not None and place.number is not None:
            gap_s = max(place.number - before.number, 1) / numbers_hz
        times.append(times[-1] + min(gap_s, max_gap_s))
    return times

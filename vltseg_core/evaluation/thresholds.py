# SPDX-License-Identifier: Apache-2.0
"""Least mean IoU by condition, in percent, such as `night=55,overall=65`: what a fleet's CI demands of a bag."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import numpy as np

from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.bag_result import BagResult

OVERALL = "overall"


def parse_thresholds(text: str) -> dict[str, float]:
    """Percent by name; raises ConfigurationError for what is no list of NAME=PERCENT."""
    thresholds = {}
    for part in text.split(","):
        name, _, percent = part.partition("=")
        try:
            thresholds[name.strip()] = float(percent)
        except ValueError:
            thresholds[name.strip()] = float("nan")
        if not name.strip() or not 0 <= thresholds[name.strip()] <= 100:
            raise ConfigurationError(f"--fail-under '{part.strip()}' is no NAME=PERCENT: give for example night=55,overall=65")
    return thresholds


def shortfalls(result: BagResult, thresholds: dict[str, float]) -> list[str]:
    """A clause for each name that fell short, such as "night has 51.2 % mean IoU, 55 % are demanded".

    What has no ground truth falls short too, and a condition that the bag does not have: a finished run is not thrown away.
    """
    found = {group.name: group.mean_iou for group in (*result.conditions, result.total)}
    short = []
    for name, least in thresholds.items():
        if name not in found:
            short.append(f"the bag has no condition '{name}': {_hint(name, found)}")
        elif np.isnan(found[name]):
            short.append(f"{name} has no ground truth, {least:g} % are demanded")
        elif 100 * found[name] < least:
            short.append(f"{name} has {100 * found[name]:.1f} % mean IoU, {least:g} % are demanded")
    return short


def require_known(thresholds: dict[str, float], conditions: Collection[str]) -> None:
    """Raise ConfigurationError for a name that is none of these conditions, nor all of them together."""
    for name in thresholds:
        if name not in (*conditions, OVERALL):
            hint = _hint(name, (*conditions, OVERALL))
            raise ConfigurationError(f"--fail-under names condition '{name}', which the bag does not have: {hint}")


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"

# SPDX-License-Identifier: Apache-2.0
"""Least mean IoU by condition, in percent, such as `night=55,overall=65`: what a fleet's CI demands of a bag."""

from __future__ import annotations

import difflib

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

    What has no ground truth falls short too. Raises ConfigurationError for a condition that the bag does not have.
    """
    found = {group.name: group.mean_iou for group in (*result.conditions, result.total)}
    short = []
    for name, least in thresholds.items():
        if name not in found:
            near = difflib.get_close_matches(name, found, 1)
            known = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(found)}"
            raise ConfigurationError(f"--fail-under names condition '{name}', which the bag does not have: {known}")
        if np.isnan(found[name]):
            short.append(f"{name} has no ground truth, {least:g} % are demanded")
        elif 100 * found[name] < least:
            short.append(f"{name} has {100 * found[name]:.1f} % mean IoU, {least:g} % are demanded")
    return short

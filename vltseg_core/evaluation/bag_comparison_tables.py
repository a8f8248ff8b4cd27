# SPDX-License-Identifier: Apache-2.0
"""compare.json and compare.md: the changes between two evaluations of a bag as values, and as tables to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vltseg_core.evaluation.bag_comparison import BagComparison
from vltseg_core.evaluation.change import Change, Verdict

FORMAT = 1
MILLISECONDS = "ms"
POINTS = "points"


def tables(comparison: BagComparison) -> list[tuple[str, str, dict[str, Change]]]:
    """Title, unit and changes of every table that has any, most important first."""
    found = [
        ("Mean IoU", POINTS, {**comparison.accuracy, **(comparison.conditions if len(comparison.conditions) > 1 else {})}),
        ("IoU by class", POINTS, comparison.classes),
        ("Latency", MILLISECONDS, comparison.latencies),
        ("Frames in time", POINTS, comparison.shares),
        ("Confidence and flicker", POINTS, comparison.steadiness),
    ]
    return [table for table in found if table[2]]


def summary(comparison: BagComparison) -> list[str]:
    """What changed, in a sentence or two."""
    sentences = []
    for name, change in list(comparison.accuracy.items())[:1]:
        sentences.append(f"{name}: {_sentence(change, POINTS)}")
    for name, change in list(comparison.latencies.items())[:1]:
        sentences.append(f"{name}: {_sentence(change, MILLISECONDS)}")
    verdicts = comparison.verdicts
    for verdict in (Verdict.BETTER, Verdict.WORSE):
        if verdicts[verdict]:
            sentences.append(f"{verdict.value.capitalize()}, by more than noise: {', '.join(verdicts[verdict])}.")
    if not verdicts[Verdict.BETTER] and not verdicts[Verdict.WORSE]:
        sentences.append("Nothing changed by more than noise.")
    return sentences


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A figure (percent for a share) or, signed, a difference (points of a percent); a dash for what is not known."""
    if np.isnan(value):
        return "–"
    scaled, digits = (value, 1) if unit == MILLISECONDS else (100 * value, 2)
    return f"{round(scaled, digits) + 0.0:{'+' if signed and round(scaled, digits) else ''}.{digits}f}"


def interval_text(change: Change, unit: str) -> str:
    """The 95 % interval of the difference."""
    low, high = change.interval
    return "–" if np.isnan(low) else f"{number(low, unit, signed=True)} to {number(high, unit, signed=True)}"


def as_json(comparison: BagComparison) -> dict[str, Any]:
    """The comparison as plain JSON values: shares and IoU 0..1, times in milliseconds, null for what is not known."""
    return {
        "format": FORMAT,
        "before": comparison.before.source,
        "after": comparison.after.source,
        "settings": [setting._asdict() for setting in comparison.settings],
        "remarks": list(comparison.remarks),
        "mean_iou": _changes(comparison.accuracy),
        "conditions": _changes(comparison.conditions),
        "classes": _changes(comparison.classes),
        "latency_ms": _changes(comparison.latencies),
        "shares_of_frames": _changes(comparison.shares),
        "confidence_and_flicker": _changes(comparison.steadiness),
        "verdicts": {verdict.value: names for verdict, names in comparison.verdicts.items()},
    }


def as_markdown(comparison: BagComparison) -> str:
    """The tables for a merge request or a wiki."""
    parts = ["# Two evaluations of one bag", ""]
    parts += [f"- before: {comparison.before.source}", f"- after: {comparison.after.source}", ""]
    parts += [f"**{sentence}**  " for sentence in summary(comparison)]
    parts += ["", *(f"- {remark}" for remark in comparison.remarks)]
    if comparison.settings:
        parts += ["", "## Set up differently", "", *_table(("", "before", "after"), comparison.settings)]
    for title, unit, changes in tables(comparison):
        what = "ms" if unit == MILLISECONDS else "%"
        header = ("", f"before, {what}", f"after, {what}", "difference", "95 % interval", "", "bootstrap")
        parts += ["", f"## {title}", "", *_table(header, [_row(name, change, unit) for name, change in changes.items()])]
    parts += ["", "With 20 figures at 95 %, one leaves its interval by chance: read single classes with care."]
    return "\n".join(parts) + "\n"


def _row(name: str, change: Change, unit: str) -> tuple[str, ...]:
    told = (number(change.before, unit), number(change.after, unit), number(change.difference, unit, signed=True))
    return (name, *told, interval_text(change, unit), change.verdict.value, str(change.spread))


def _sentence(change: Change, unit: str) -> str:
    what = "ms" if unit == MILLISECONDS else "%"
    low_to_high = interval_text(change, unit)
    interval = "" if low_to_high == "–" else f"; 95 % interval of the difference {low_to_high}, {change.spread}"
    step = number(change.difference, unit, signed=True)
    ends = f"{number(change.before, unit)} to {number(change.after, unit)} {what}"
    return f"{ends} ({step} {unit}{interval}): {change.verdict.value}."


def _changes(changes: dict[str, Change]) -> dict[str, Any]:
    return {
        name: {
            "before": _value(change.before),
            "after": _value(change.after),
            "difference": _value(change.difference),
            "interval_95": [_value(end) for end in change.interval],
            "bootstrap": str(change.spread),
            "verdict": change.verdict.value,
        }
        for name, change in changes.items()
    }


def _value(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6) + 0.0


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]

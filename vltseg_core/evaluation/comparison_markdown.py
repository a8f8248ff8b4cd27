# SPDX-License-Identifier: Apache-2.0
"""A comparison of checkpoints as Markdown tables, mIoU and IoU in percent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vltseg_core.evaluation.comparison import Comparison
from vltseg_core.evaluation.html_page import percent
from vltseg_core.evaluation.targets import SEVERITIES


def render_markdown(comparison: Comparison) -> str:
    """Summary with published figures, then for each target: pooled and by condition, simulated weather, IoU by class."""
    sections = [f"# mIoU in percent, {comparison.created}", *comparison.remarks(), summary_table(comparison)]
    for title in comparison.titles:
        sections += [f"## {title}", _condition_table(comparison, title)]
        if weather := _weather_rows(comparison, title):
            sections.append(markdown_table(["network", "weather", *(f"severity {s}" for s in (0, *SEVERITIES))], weather))
        sections.append(_class_table(comparison, title))
    machine = ", ".join(value for _, value in comparison.machine)
    return "\n\n".join([*sections, f"Measured on: {machine}."]) + "\n"


def summary_table(comparison: Comparison) -> str:
    """Networks by target, published ones after one's own."""
    columns, rows = summary_cells(comparison)
    return markdown_table(columns, rows)


def summary_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows of the summary, as text."""
    has_mean = len(comparison.unseen_titles) > 1
    last = None if has_mean else -1
    rows = [
        [f"{row.name} (published)" if row.is_published else row.name, *(percent(value) for value in row.values[:last])]
        for row in comparison.summary()
    ]
    return ["network", *comparison.titles, *(["DG mean"] if has_mean else [])], rows


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _condition_table(comparison: Comparison, title: str) -> str:
    plain = [(c.name, c.plain[title]) for c in comparison.checkpoints if title in c.plain]
    conditions = list(dict.fromkeys(condition for _, m in plain for condition in m.result.conditions))
    rows = [
        [
            name,
            percent(m.result.mean_iou),
            *([percent(m.result.mean_of_conditions)] if len(conditions) > 1 else []),
            *(percent(m.result.condition_mean_iou(condition)) for condition in conditions),
            f"{m.result.pooled.num_images} of {m.result.num_frames}",
            f"{m.result.seconds_per_frame:.3f}",
            m.protocol,
        ]
        for name, m in plain
    ]
    means = ["mean of conditions"] if len(conditions) > 1 else []
    return markdown_table(["network", "pooled", *means, *conditions, "frames", "s a frame", "protocol"], rows)


def _weather_rows(comparison: Comparison, title: str) -> list[list[str]]:
    return [
        [checkpoint.name, condition, *map(percent, values)]
        for checkpoint in comparison.checkpoints
        for condition, values in checkpoint.by_severity(title).items()
    ]


def _class_table(comparison: Comparison, title: str) -> str:
    plain = [(c.name, c.plain[title].result.iou()) for c in comparison.checkpoints if title in c.plain]
    rows = [[name, *(percent(iou.get(name, np.nan)) for _, iou in plain)] for name in plain[0][1]]
    return markdown_table(["class", *(name for name, _ in plain)], rows)

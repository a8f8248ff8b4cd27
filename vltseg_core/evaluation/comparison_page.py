# SPDX-License-Identifier: Apache-2.0
"""A comparison of checkpoints as one self-contained HTML page."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from vltseg_core.evaluation.charts import bar_chart, grouped_bar_chart, line_chart, series_key
from vltseg_core.evaluation.comparison import Comparison, FramePicture, Measurement
from vltseg_core.evaluation.frame_pictures import PANEL_NAMES, class_table
from vltseg_core.evaluation.html_page import Panel, PictureRow, page_template
from vltseg_core.evaluation.targets import DEMO, SEVERITIES

_TICKS = ("0", *map(str, SEVERITIES))


def render_comparison(comparison: Comparison) -> str:
    """The page: summary beside published figures, then each target by condition, by weather, by class, and its frames."""
    names = [checkpoint.name for checkpoint in comparison.checkpoints]
    summary = comparison.summary()
    own = [row for row in summary if not row.is_published]
    by_target = [
        (title, [row.values[i] for row in own])
        for i, title in enumerate((*comparison.titles, "DG mean"))
        if not all(np.isnan(row.values[i]) for row in own)
    ]
    return page_template("comparison.html.j2").render(
        title=names[0] if len(names) == 1 else f"{len(names)} networks side by side",
        comparison=comparison,
        remarks=comparison.remarks(),
        drawn=any(comparison.target_name(title) == DEMO for title in comparison.titles),
        summary=summary,
        titles=comparison.titles,
        unseen=comparison.unseen_titles,
        has_mean=len(comparison.unseen_titles) > 1,
        has_published=len(own) < len(summary),
        has_series=len(names) > 1,
        key=Markup(series_key(names)),
        target_chart=Markup(_bars(by_target, "mean IoU by target")),
        targets=[_target(comparison, title) for title in comparison.titles],
    )


def _target(comparison: Comparison, title: str) -> dict[str, Any]:
    """What the template shows of one target."""
    measurements = [(c.name, c.plain.get(title)) for c in comparison.checkpoints]
    present = [(name, m) for name, m in measurements if m is not None]
    first = present[0][1].result
    conditions = tuple(dict.fromkeys(condition for _, m in present for condition in m.result.conditions))
    rows = [
        (condition, [np.nan if m is None else m.result.condition_mean_iou(condition) for _, m in measurements])
        for condition in conditions
    ]
    weather_key, weather_charts = _weather(comparison, title)
    columns, class_rows = _class_rows(present, conditions)
    unreadable = {frame: reason for _, m in present for frame, reason in m.result.unreadable.items()}
    return {
        "title": title,
        "measurements": present,
        "has_conditions": len(conditions) > 1,
        "mean_classes": first.mean_classes,
        "condition_chart": Markup(_bars(rows, f"mean IoU on {title} by condition")) if len(rows) > 1 else "",
        "condition_numbers": [number for number in comparison.published(title) if number.condition],
        "weather_key": weather_key,
        "weather_charts": weather_charts,
        "columns": columns,
        "class_rows": class_rows,
        "classes": class_table(first.class_names).classes,
        "pictures": [(name, [_row(picture) for picture in m.pictures]) for name, m in present if m.pictures],
        "unreadable": list(unreadable.items()),
    }


def _bars(rows: list[tuple[str, list[float]]], label: str) -> str:
    if rows and len(rows[0][1]) > 1:
        return grouped_bar_chart(rows, label)
    return bar_chart([(name, values[0]) for name, values in rows], label)


def _weather(comparison: Comparison, title: str) -> tuple[Markup, list[tuple[str, Markup]]]:
    """A key and charts of mIoU over severity: one with a line a condition, or, of several networks, one a condition."""
    lines: dict[str, dict[int, list[float]]] = {}  # condition, number of the checkpoint, mIoU by severity
    for number, checkpoint in enumerate(comparison.checkpoints):
        for condition, values in checkpoint.by_severity(title).items():
            lines.setdefault(condition, {})[number] = values
    if not lines:
        return Markup(""), []
    if len(comparison.checkpoints) == 1:
        series = [(i, by_checkpoint[0]) for i, by_checkpoint in enumerate(lines.values())]
        chart = line_chart(_TICKS, series, f"mean IoU on {title} by severity of the weather")
        return Markup(series_key(tuple(lines))), [("", Markup(chart))]
    charts = [
        (condition, Markup(line_chart(_TICKS, list(by_checkpoint.items()), f"mean IoU on {title} by severity of {condition}")))
        for condition, by_checkpoint in lines.items()
    ]
    return Markup(series_key([checkpoint.name for checkpoint in comparison.checkpoints])), charts


def _class_rows(
    present: list[tuple[str, Measurement]], conditions: tuple[str, ...]
) -> tuple[list[str], list[tuple[str, tuple[int, int, int], list[float]]]]:
    """Columns, and name, colour and IoU by column of each class that occurs: by condition for one network, else by network."""
    if len(present) == 1:
        result = present[0][1].result
        shown = conditions if len(conditions) > 1 else ()
        columns, ious = [*shown, "all"], [*(result.iou(condition) for condition in shown), result.iou()]
    else:
        columns, ious = [name for name, _ in present], [m.result.iou() for _, m in present]
    rows = [
        (c.name, c.colour, [iou.get(c.name, np.nan) for iou in ious])
        for c in class_table(present[0][1].result.class_names).classes
    ]
    return columns, [row for row in rows if not np.isnan(row[2]).all()]


def _row(picture: FramePicture) -> PictureRow:
    panels = []
    for name, file in zip(PANEL_NAMES, picture.files, strict=True):
        with Image.open(file) as image:
            panels.append(Panel(name, np.asarray(image.convert("RGB"))))
    return PictureRow(picture.caption, tuple(panels))

# SPDX-License-Identifier: Apache-2.0
"""A chart of scores along a setting, as an SVG that stands alone: every run a dot, their means a line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

_WIDTH_PX, _HEIGHT_PX, _LEFT_PX, _TOP_PX, _BOTTOM_PX, _LEGEND_ROW_PX = 460, 260, 52, 34, 52, 22
_COLOURS = ("#3a72b8", "#cf5c36", "#3f8f5b", "#8a5fb0", "#a8862a", "#4a9aa8", "#b0476e", "#626c7a")
_STYLE = """
.page{fill:#fff} .ink{fill:#1d2430} .muted{fill:#626c7a} .grid{stroke:#e2e6eb}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif} .title{font-weight:600}
@media (prefers-color-scheme: dark){.page{fill:#1c2027} .ink{fill:#e4e8ee} .muted{fill:#98a3b2} .grid{stroke:#343b46}}
"""


class Panel(NamedTuple):
    """One setting's part of the chart. values: by the setting's value, then by series, the score of each run in percent."""

    title: str
    values: Mapping[str, Mapping[str, Sequence[float]]]


def axis_chart(panels: Sequence[Panel], series: Sequence[str]) -> str:
    """Panels side by side, on one scale of the score."""
    scores = [score for panel in panels for group in panel.values.values() for runs in group.values() for score in runs]
    low, high, step = _scale(scores)
    width = len(panels) * _WIDTH_PX
    height = _TOP_PX + _HEIGHT_PX + _BOTTOM_PX + _LEGEND_ROW_PX * len(series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="mean IoU by {escape(", ".join(panel.title for panel in panels))}"><style>{_STYLE}</style>'
        f'<rect class="page" width="{width}" height="{height}"/>'
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * _WIDTH_PX + _LEFT_PX},{_TOP_PX})">')
        parts.append(_panel(panel, series, low, high, step) + "</g>")
    for number, name in enumerate(series):
        y = _TOP_PX + _HEIGHT_PX + _BOTTOM_PX + number * _LEGEND_ROW_PX
        parts.append(f'<rect x="{_LEFT_PX}" y="{y}" width="12" height="12" rx="3" fill="{_colour(number)}"/>')
        parts.append(
            f'<text class="ink" x="{_LEFT_PX + 18}" y="{y + 11}">{escape(name)}: each run a dot, the line their mean</text>'
        )
    return "".join([*parts, "</svg>"])


def _panel(panel: Panel, series: Sequence[str], low: float, high: float, step: float) -> str:
    plot_px = _WIDTH_PX - _LEFT_PX - 24
    places = _places(list(panel.values), plot_px)

    def y_px(score: float) -> float:
        return _HEIGHT_PX * (high - score) / (high - low)

    parts = [f'<text class="ink title" x="0" y="-14">mIoU % by {escape(panel.title)}</text>']
    for tick in range(round((high - low) / step) + 1):
        score = low + tick * step
        parts.append(f'<line class="grid" x1="0" x2="{plot_px}" y1="{y_px(score):.1f}" y2="{y_px(score):.1f}"/>')
        parts.append(f'<text class="muted" x="-8" y="{y_px(score) + 4.5:.1f}" text-anchor="end">{score:g}</text>')
    right_of_last = -math.inf
    for label, x in sorted(zip(panel.values, places, strict=True), key=lambda pair: pair[1]):
        text = label if len(label) <= 16 else label[:15] + "…"
        half = 3.8 * len(text) + 3
        row = 1 if x - half < right_of_last else 0  # a second row where labels would touch
        right_of_last = x + half if row == 0 else right_of_last
        parts.append(
            f'<text class="muted" x="{x:.1f}" y="{_HEIGHT_PX + 18 + 16 * row}" text-anchor="middle">{escape(text)}</text>'
        )
    for number, name in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * 5
        means = []
        for x, group in zip(places, panel.values.values(), strict=True):
            runs = group.get(name, ())
            for score in runs:
                parts.append(
                    f'<circle cx="{x + shift:.1f}" cy="{y_px(score):.1f}" r="3" fill="{_colour(number)}" fill-opacity=".4"/>'
                )
            if runs:
                means.append((x + shift, y_px(statistics.fmean(runs))))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in sorted(means))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_colour(number)}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_colour(number)}"/>' for x, y in means]
    return "".join(parts)


def _places(labels: Sequence[str], width_px: float) -> list[float]:
    """Where each value lies: numbers by their size, words at equal distances."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        numbers = [float(index) for index in range(len(labels))]
    span = max(numbers) - min(numbers)
    return [24 + (width_px - 48) * ((number - min(numbers)) / span if span else 0.5) for number in numbers]


def _scale(scores: Sequence[float]) -> tuple[float, float, float]:
    """Round ends and step of an axis that holds all scores."""
    least, most = min(scores, default=0.0), max(scores, default=1.0)
    rough = max(most - least, 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    low = math.floor(least / step) * step
    return low, max(math.ceil(most / step - 1e-9) * step, low + step), step


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]

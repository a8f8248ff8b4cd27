# SPDX-License-Identifier: Apache-2.0
"""Charts for an HTML page: inline SVG for the shapes, HTML for the words.

The shapes stretch to any width while the words keep their size. Layout and colours are the page's: the classes `bars`
and `plot` and `lines`, the variables `--bar`, `--bar-track`, `--dropped`, `--grid` and `--series-0` to `--series-5`. N is the
number of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_PLOT_PX = 140
_MARK_PX = 12
_MAX_STEMS = 400
_NUM_SERIES_COLOURS = 6
_GROUPED_BAR_PX = 17


def bar_chart(rows: Sequence[tuple[str, float]], label: str) -> str:
    """Horizontal bars for values of 0 to 1, one a row, written as percent; a NaN has no bar and reads "none"."""
    parts = [f'<div class="bars" role="img" aria-label="{escape(label)}">']
    for name, value in rows:
        known = not np.isnan(value)
        bar = f'<rect width="{100 * value:.2f}%" height="16" rx="3" fill="var(--bar)"/>' if known else ""
        text = f"{100 * value:.1f} %" if known else "none"
        parts.append(
            f'<span>{escape(name)}</span><svg width="100%" height="16">'
            f'<rect width="100%" height="16" rx="3" fill="var(--bar-track)"/>{bar}</svg><span>{text}</span>'
        )
    return "".join([*parts, "</div>"])


def series_key(names: Sequence[str]) -> str:
    """Which colour is whose, for `grouped_bar_chart` and `line_chart`."""
    keys = (
        f'<span><span class="swatch" style="background:{series_colour(i)}"></span>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<div class="keys">{"".join(keys)}</div>'


def grouped_bar_chart(rows: Sequence[tuple[str, Sequence[float]]], label: str) -> str:
    """As `bar_chart`, with a bar for each of several series in every row, one colour a series."""
    parts = [f'<div class="bars" role="img" aria-label="{escape(label)}">']
    for name, values in rows:
        height_px = _GROUPED_BAR_PX * len(values)
        shapes, words = [], []
        for i, value in enumerate(values):
            known = not np.isnan(value)
            place = f'y="{i * _GROUPED_BAR_PX + 1}" height="{_GROUPED_BAR_PX - 3}" rx="3"'
            shapes.append(f'<rect width="100%" {place} fill="var(--bar-track)"/>')
            if known:
                shapes.append(f'<rect width="{100 * value:.2f}%" {place} fill="{series_colour(i)}"/>')
            words.append(f"{100 * value:.1f} %" if known else "none")
        parts.append(
            f'<span>{escape(name)}</span><svg width="100%" height="{height_px}">{"".join(shapes)}</svg>'
            f'<span style="line-height:{_GROUPED_BAR_PX}px;font-size:.85rem">{"<br>".join(words)}</span>'
        )
    return "".join([*parts, "</div>"])


def line_chart(ticks: Sequence[str], series: Sequence[tuple[int, Sequence[float]]], label: str) -> str:
    """Lines over evenly spaced ticks, values of 0 to 1 on an axis in percent; NaN leaves a gap.

    series: number of the colour, and a value for each tick. The axis spans the values' tens, and need not begin at 0.
    """
    known = [value for _, values in series for value in values if not np.isnan(value)] or [0.0, 1.0]
    bottom = np.floor(10 * min(known) + 1e-9) / 10
    top = max(bottom + 0.1, np.ceil(10 * max(known) - 1e-9) / 10)
    width = max(len(ticks) - 1, 1)
    axis, shapes = [], []
    for share in (0.0, 0.5, 1.0):
        y_px = _PLOT_PX * (1 - share)
        axis.append(f'<span style="top:{y_px:g}px">{100 * (bottom + (top - bottom) * share):g} %</span>')
        shapes.append(_line(0, y_px, width, y_px, "var(--grid)", 1))
    for colour, values in series:
        points = [(x, _PLOT_PX * (top - value) / (top - bottom)) for x, value in enumerate(values) if not np.isnan(value)]
        for (x1, y1), (x2, y2) in zip(points[:-1], points[1:], strict=True):
            if x2 == x1 + 1:
                shapes.append(_line(x1, y1, x2, y2, series_colour(colour), 2))
        shapes += [_dot(x, y, series_colour(colour)) for x, y in points]
    places = "".join(f'<span style="left:{100 * x / width:.2f}%">{escape(tick)}</span>' for x, tick in enumerate(ticks))
    return (
        f'<div class="lines" role="img" aria-label="{escape(label)}"><div class="axis">{"".join(axis)}</div>'
        f'<svg width="100%" height="{_PLOT_PX}" viewBox="0 0 {width} {_PLOT_PX}" preserveAspectRatio="none">'
        f'{"".join(shapes)}</svg><div class="ticks">{places}</div></div>'
    )


def latency_chart(latencies_ms: NDArray[np.float64], sections: Sequence[tuple[str, int]], label: str) -> str:
    """Latency frame by frame as stems; a frame without an answer is a mark below the axis.

    latencies_ms: float64 [N] in the order of playing, NaN where no mask came back.
    sections: name and number of frames of each part of the sequence, in the same order; their sum is N.
    Over 400 frames, neighbours share a stem (their longest latency, and a mark if any was dropped).
    """
    num_frames = max(len(latencies_ms), 1)
    answered = latencies_ms[~np.isnan(latencies_ms)]
    top_ms = _round_up(float(answered.max())) if answered.size else 1.0
    height_px = _PLOT_PX + _MARK_PX
    axis, shapes = [], []
    for share in (0.0, 0.5, 1.0):
        y_px = _PLOT_PX * (1 - share)
        axis.append(f'<span style="top:{y_px:g}px">{top_ms * share:g} ms</span>')
        shapes.append(_line(0, y_px, num_frames, y_px, "var(--grid)", 1))
    for first, last in _stems(len(latencies_ms)):
        stem = latencies_ms[first:last]
        x = (first + last) / 2
        if not np.isnan(stem).all():
            y_px = _PLOT_PX * (1 - float(np.nanmax(stem)) / top_ms)
            shapes.append(_line(x, y_px, x, _PLOT_PX, "var(--bar)", 2))
        if np.isnan(stem).any():
            shapes.append(_line(x, _PLOT_PX + 3, x, height_px, "var(--dropped)", 2))
    names = "".join(f'<span style="width:{100 * count / num_frames:.2f}%">{escape(name)}</span>' for name, count in sections)
    return (
        f'<div class="plot" role="img" aria-label="{escape(label)}"><div class="axis">{"".join(axis)}</div>'
        f'<svg width="100%" height="{height_px}" viewBox="0 0 {num_frames} {height_px}" preserveAspectRatio="none">'
        f'{"".join(shapes)}</svg><div class="sections">{names}</div></div>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width_px: int) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:.1f}" x2="{x2:g}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width_px}" '
        'vector-effect="non-scaling-stroke"/>'
    )


def _dot(x: float, y: float, colour: str) -> str:
    """Round at any stretch: a line without length has round ends."""
    return (
        f'<line x1="{x:g}" y1="{y:.1f}" x2="{x:g}" y2="{y:.1f}" stroke="{colour}" stroke-width="7" stroke-linecap="round" '
        'vector-effect="non-scaling-stroke"/>'
    )


def series_colour(number: int) -> str:
    """The CSS colour of the series with this number."""
    return f"var(--series-{number % _NUM_SERIES_COLOURS})"


def _stems(num_frames: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, num_frames, min(num_frames, _MAX_STEMS) + 1).round().astype(int).tolist()
    return list(zip(edges[:-1], edges[1:], strict=True))


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ... at or above a positive value."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))

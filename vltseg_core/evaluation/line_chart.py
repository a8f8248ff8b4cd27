# SPDX-License-Identifier: Apache-2.0
"""Curves as a picture of their own: an SVG file that any browser shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 34, 36
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#475569", "#92400e")
_NUM_GRID_LINES = 5
_GRID, _INK = "#d4d8de", "#1f2937"


def line_charts(panels: Mapping[str, Mapping[str, Points]], x_label: str) -> str:
    """Panels one below the other, each a title and its curves by name: (x, y) points with x rising. Gives SVG."""
    body = [_panel(title, curves, x_label, number * _HEIGHT) for number, (title, curves) in enumerate(panels.items())]
    height = _HEIGHT * max(1, len(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(body)}</svg>\n"
    )


def _panel(title: str, curves: Mapping[str, Points], x_label: str, top: int) -> str:
    points = [point for curve in curves.values() for point in curve if math.isfinite(point[1])]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [f'<g transform="translate(0 {top})"><text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>']
    if points:
        (x_low, x_high), (y_low, y_high) = _bounds([x for x, _ in points]), _bounds([y for _, y in points])

        def place(x: float, y: float) -> tuple[float, float]:
            across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
            return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

        for line in range(_NUM_GRID_LINES + 1):
            share = line / _NUM_GRID_LINES
            x, y = place(x_low + share * (x_high - x_low), y_low + share * (y_high - y_low))
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{_GRID}"/>')
            parts.append(_text(_LEFT - 6, y + 4, _tick(y_low + share * (y_high - y_low), y_high - y_low), "end"))
            parts.append(_text(x, bottom + 16, f"{x_low + share * (x_high - x_low):g}", "middle"))
        parts.append(_text((_LEFT + right) / 2, bottom + 31, x_label, "middle"))
        for number, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            places = [place(x, y) for x, y in curve if math.isfinite(y)]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y in places[-1:]]
            latest = f"{escape(name)}  {_value(curve[-1][1])}" if curve else escape(name)
            parts.append(f'<text x="{right + 14}" y="{_TOP + 8 + 17 * number}" fill="{colour}">{latest}</text>')
    return "".join([*parts, "</g>"])


def _tick(value: float, span: float) -> str:
    """With the decimals that tell one grid line from the next."""
    decimals = max(0, math.ceil(-math.log10(span / _NUM_GRID_LINES)))
    return f"{value:.{decimals}f}"


def _value(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#4b5563">{escape(text)}</text>'


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)

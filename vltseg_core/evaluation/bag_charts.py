# SPDX-License-Identifier: Apache-2.0
"""Charts of a bag's evaluation, drawn as those of `charts` are: inline SVG that stretches, words in HTML.

Layout and colours are the page's: the classes `bars`, `shares`, `lines` and `confusion`, the variables of `charts`, and `--heat`,
`--wrong`, `--on-heat` and `--ink`. K is the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.evaluation.bootstrap import Interval
from vltseg_core.evaluation.calibration import NUM_BINS, ReliabilityBin
from vltseg_core.labels import ClassTable, SemanticClass

_PLOT_PX = 170
_PLOT_WIDTH = 1000
_BAR_PX = 18
_MAX_CELL_OPACITY = 0.9


class Curve(NamedTuple):
    """One line of `curve_chart`: the colour's CSS, and places of 0 to 1 on both axes."""

    colour: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


class Tick(NamedTuple):
    """Where on an axis, 0 to 1, and what is written there; dashed ones get a dashed line."""

    place: float
    text: str
    is_dashed: bool = False


def interval_chart(rows: Sequence[tuple[str, float, Interval]], label: str, top: float = 1.0) -> str:
    """Horizontal bars with their 95 % intervals as whiskers, in percent; `top` fills the width, NaN has no bar."""
    parts = [f'<div class="bars" role="img" aria-label="{escape(label)}">']
    for name, value, (low, high) in rows:
        shapes = [f'<rect width="100%" height="{_BAR_PX}" rx="3" fill="var(--bar-track)"/>']
        text = "none"
        if not np.isnan(value):
            shapes.append(f'<rect width="{100 * value / top:.2f}%" height="{_BAR_PX}" rx="3" fill="var(--bar)"/>')
            text = f"{100 * value:.{1 if top == 1 else 2}f} %"
        if not np.isnan(low):
            ends = [f"{100 * end / top:.2f}%" for end in (low, high)]
            middle = _BAR_PX / 2
            shapes.append(_whisker(ends[0], ends[1], middle, middle))
            shapes += [_whisker(end, end, 4, _BAR_PX - 4) for end in ends]
            text += f"<small>{100 * low:.1f} to {100 * high:.1f}</small>"
        parts.append(
            f'<span>{escape(name)}</span><svg width="100%" height="{_BAR_PX}">{"".join(shapes)}</svg><span>{text}</span>'
        )
    return "".join([*parts, "</div>"])


def share_chart(rows: Sequence[tuple[str, Sequence[float]]], classes: ClassTable, label: str) -> str:
    """One bar a row, cut into the classes' shares in their colours; what is missing to 1 has no class.

    rows: name, and the share of each class.
    """
    parts = [f'<div class="shares" role="img" aria-label="{escape(label)}">']
    for name, shares in rows:
        shapes = ['<rect width="100%" height="26" fill="var(--bar-track)"/>']
        edge = 0.0
        for entry, share in zip(classes.classes, shares, strict=True):
            if share > 0:
                title = f"<title>{escape(name)}: {escape(entry.name)} {100 * share:.1f} %</title>"
                place = f'x="{100 * edge:.3f}%" width="{100 * share:.3f}%"'
                shapes.append(f'<rect {place} height="26" fill="rgb{entry.colour}">{title}</rect>')
                edge += share
        parts.append(f'<span>{escape(name)}</span><svg width="100%" height="26">{"".join(shapes)}</svg>')
    return "".join([*parts, "</div>"])


def curve_chart(curves: Sequence[Curve], x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], label: str) -> str:
    """Lines over two axes from 0 to 1; the ticks say what the places mean."""
    return _plot([_polyline(curve) for curve in curves], x_ticks, y_ticks, label)


def reliability_chart(bins: Sequence[ReliabilityBin], label: str) -> str:
    """Share of right pixels by confidence; the diagonal is what a confidence to be believed would give.

    A bar is the paler, the fewer pixels it stands for.
    """
    most = max((entry.num_pixels for entry in bins), default=0) or 1
    total = sum(entry.num_pixels for entry in bins) or 1
    step = _PLOT_WIDTH / NUM_BINS
    shapes = []
    for i, entry in enumerate(bins):
        if entry.num_pixels:
            height_px = _PLOT_PX * entry.accuracy
            opacity = 0.35 + 0.65 * (entry.num_pixels / most) ** 0.5
            title = (
                f"confidence {i / NUM_BINS:.2f} to {(i + 1) / NUM_BINS:.2f}: {100 * entry.accuracy:.1f} % right, "
                f"{100 * entry.num_pixels / total:.1f} % of the pixels"
            )
            shapes.append(
                f'<rect x="{i * step + 4:.1f}" y="{_PLOT_PX - height_px:.1f}" width="{step - 8:.1f}" height="{height_px:.1f}" '
                f'fill="var(--bar)" opacity="{opacity:.2f}"><title>{title}</title></rect>'
            )
    ends = np.array([0.0, 1.0])
    shapes.append(_polyline(Curve("var(--dropped)", ends, ends), 'stroke-dasharray="5 4"'))
    return _plot(shapes, [Tick(share, f"{share:g}") for share in (0.0, 0.5, 1.0)], percent_ticks(0, 1), label)


def confusion_table(counts: NDArray[np.int64], classes: ClassTable) -> str:
    """The confusion matrix as a heat map, each row in percent of that class's own pixels.

    counts: int64 [K, K + 1] as `ConfusionMatrix.counts`. Classes that occur neither in the truth nor in the prediction
    are left out, and rows of classes that the truth does not have.
    """
    num_true = counts.sum(axis=1)
    rows = [entry for entry in classes.classes if num_true[entry.train_id]]
    seen = (counts.sum(axis=0)[:-1] > 0) | (num_true > 0)
    columns = [entry for entry in classes.classes if seen[entry.train_id]]
    if counts[:, -1].any():
        columns.append(SemanticClass(len(classes), "no label", (128, 128, 128)))
    parts = ['<table class="confusion"><thead><tr><th>truth ↓ &nbsp; mask →</th>']
    parts += [f'<th scope="col"><span>{_swatch(column)}{escape(column.name)}</span></th>' for column in columns]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        parts.append(f'<tr><th scope="row">{escape(row.name)}{_swatch(row)}</th>')
        shares = counts[row.train_id] / num_true[row.train_id]
        parts += [_cell(row, column, float(shares[column.train_id])) for column in columns]
        parts.append("</tr>")
    return "".join([*parts, "</tbody></table>"])


def percent_ticks(bottom: float, top: float) -> list[Tick]:
    """Ends and middle of an axis of shares."""
    return [Tick(place, f"{100 * (bottom + (top - bottom) * place):.4g} %") for place in (0.0, 0.5, 1.0)]


def _cell(row: SemanticClass, column: SemanticClass, share: float) -> str:
    is_right = row.train_id == column.train_id
    opacity = _MAX_CELL_OPACITY * (share if is_right else share**0.5)  # a few percent of confusion are to be seen
    heat = "heat" if is_right else "wrong"
    colour = "var(--on-heat)" if opacity > 0.55 else "var(--ink)"
    style = f"background:rgba(var(--{heat}),{opacity:.2f});color:{colour}" if share >= 0.0005 else ""
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    title = f"{100 * share:.2f} % of {row.name} is labelled {column.name}"
    return f'<td style="{style}" title="{escape(title)}">{text}</td>'


def _swatch(entry: SemanticClass) -> str:
    return f'<i class="swatch" style="background:rgb{entry.colour}"></i>'


def _whisker(x1: str, x2: str, y1: float, y2: float) -> str:
    return f'<line x1="{x1}" x2="{x2}" y1="{y1:g}" y2="{y2:g}" stroke="var(--ink)" stroke-width="1.5"/>'


def _polyline(curve: Curve, more: str = "") -> str:
    places = zip(_PLOT_WIDTH * curve.x, _PLOT_PX * (1 - curve.y), strict=True)
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in places)
    return (
        f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="2" stroke-linejoin="round" '
        f'vector-effect="non-scaling-stroke" {more}/>'
    )


def _plot(shapes: Sequence[str], x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], label: str) -> str:
    grid, axis = [], []
    for tick in y_ticks:
        y_px = _PLOT_PX * (1 - tick.place)
        axis.append(f'<span style="top:{y_px:g}px">{escape(tick.text)}</span>')
        grid.append(_rule(0, y_px, _PLOT_WIDTH, y_px))
    for tick in x_ticks:
        if tick.is_dashed:
            grid.append(_rule(_PLOT_WIDTH * tick.place, 0, _PLOT_WIDTH * tick.place, _PLOT_PX, 'stroke-dasharray="4 4"'))
    words = "".join(f'<span style="left:{100 * tick.place:.2f}%">{escape(tick.text)}</span>' for tick in x_ticks)
    return (
        f'<div class="lines" role="img" aria-label="{escape(label)}"><div class="axis">{"".join(axis)}</div>'
        f'<svg width="100%" height="{_PLOT_PX}" viewBox="0 0 {_PLOT_WIDTH} {_PLOT_PX}" preserveAspectRatio="none">'
        f'{"".join([*grid, *shapes])}</svg><div class="ticks">{words}</div></div>'
    )


def _rule(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="var(--grid)" stroke-width="1" '
        f'vector-effect="non-scaling-stroke" {more}/>'
    )

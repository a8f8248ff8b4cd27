# SPDX-License-Identifier: Apache-2.0
"""The picture of an alignment: two panels, before and after, each the plane in which that network's features vary most."""

from __future__ import annotations

import itertools
from html import escape
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vltseg_core.analysis.alignment import AlignmentReport, Stage
from vltseg_core.analysis.cluster_scores import Estimate, Floats
from vltseg_core.analysis.domain_samples import ClassGroup, text_means

_PANEL_PX, _GAP_PX, _MARGIN_PX, _TOP_PX = 540, 24, 16, 40
_MARK_PX, _STAR_PX, _ROW_PX, _COLUMN_PX = 3.2, 9.0, 22, 150
_POINTS_SHOWN = 40
_STYLE = """
.ink{fill:#1d2430} .muted{fill:#626c7a} .panel{fill:#fff;stroke:#d5dae1} .halo{stroke:#fff;stroke-width:3px;paint-order:stroke}
.star{stroke:#1d2430;stroke-width:1.2px;stroke-linejoin:round} .leader{stroke:#8a94a3;stroke-width:1px}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif} .title{font-size:15px;font-weight:600}
"""


class _Plane(NamedTuple):
    """Places in pixels within a panel, [N, 2] and [G, 2], and the share of the variance that the plane shows."""

    points: Floats
    texts: Floats
    explained: float


def project(features: Floats, others: Floats) -> tuple[Floats, Floats, float]:
    """Principal components: features [N, D] and others [M, D] in the features' plane, [N, 2] and [M, 2].

    The third is the share of the features' variance in the plane.
    """
    centre = features.mean(0)
    _, singular, axes = np.linalg.svd(features - centre, full_matrices=False)
    explained = float((singular[:2] ** 2).sum() / max((singular**2).sum(), 1e-12))
    return (features - centre) @ axes[:2].T, (others - centre) @ axes[:2].T, explained


def draw(report: AlignmentReport) -> str:
    """The picture as an SVG that stands alone."""
    legend, legend_px = _legend(report)
    width = 2 * _PANEL_PX + _GAP_PX + 2 * _MARGIN_PX
    height = _TOP_PX + _PANEL_PX + legend_px + 2 * _MARGIN_PX
    panels = []
    for number, stage in enumerate(report.stages):
        x = _MARGIN_PX + number * (_PANEL_PX + _GAP_PX)
        panels.append(f'<g transform="translate({x},{_TOP_PX})">{_panel(stage, report)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="dense features of two domains before and after training"><style>{_STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="#f6f7f9"/>{"".join(panels)}'
        f'<g transform="translate({_MARGIN_PX},{_TOP_PX + _PANEL_PX + _MARGIN_PX})">{legend}</g></svg>'
    )


def _panel(stage: Stage, report: AlignmentReport) -> str:
    groups = report.sample.groups
    plane = _plane(stage, groups)
    name = report.settings.before if stage.name == "before" else report.settings.after
    title = f"{stage.name.capitalize()}: {name}" if len(name) <= 28 else f"{stage.name.capitalize()}: …{name[-26:]}"
    parts = [
        f'<text class="ink title" x="0" y="-12">{escape(title)}</text>',
        f'<text class="muted" x="{_PANEL_PX}" y="-12" text-anchor="end">{100 * plane.explained:.0f} % of the variance</text>',
        f'<rect class="panel" width="{_PANEL_PX}" height="{_PANEL_PX}" rx="8"/>',
    ]
    for index in _shown(stage):
        x, y = plane.points[index]
        parts.append(_mark(x, y, _css(groups[stage.points.classes[index]]), int(stage.points.domains[index])))
    labels = _spread_labels(plane.texts, [group.name for group in groups])
    for (x, y), (label_x, label_y, _) in zip(plane.texts, labels, strict=True):
        if abs(label_y - y) > 8:
            parts.append(f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{label_x:.1f}" y2="{label_y:.1f}"/>')
    for group, (x, y), (label_x, label_y, anchor) in zip(groups, plane.texts, labels, strict=True):
        parts.append(_star(x, y, _css(group)))
        parts.append(
            f'<text class="ink halo" x="{label_x:.1f}" y="{label_y + 4.5:.1f}" text-anchor="{anchor}">{escape(group.name)}</text>'
        )
    return "".join(parts)


def _plane(stage: Stage, groups: tuple[ClassGroup, ...]) -> _Plane:
    points, texts, explained = project(stage.points.features, text_means(stage.texts, groups))
    everything = np.vstack((points, texts))
    low, high = everything.min(0), everything.max(0)
    room = _PANEL_PX - 48
    scale = room / max(float((high - low).max()), 1e-9)
    offset = (_PANEL_PX - scale * (high - low)) / 2

    def place(vectors: Floats) -> Floats:
        return np.asarray((vectors - low) * scale + offset)

    return _Plane(place(points), place(texts), explained)


def _shown(stage: Stage) -> list[int]:
    """Some points of each class and domain, in an order in which no class covers the others."""
    rng = np.random.default_rng(0)
    cells = stage.points.classes * 2 + stage.points.domains
    chosen = [rng.permutation(np.flatnonzero(cells == cell))[:_POINTS_SHOWN] for cell in np.unique(cells)]
    return [int(index) for index in rng.permutation(np.concatenate(chosen))]


def _spread_labels(places: Floats, names: list[str]) -> list[tuple[float, float, str]]:
    """Where each star's name goes (x, y, anchor): beside it, moved as little as it takes to cover no star and no other name."""
    reach = _STAR_PX + 4
    taken = [(x - _STAR_PX, x + _STAR_PX, y, _STAR_PX) for x, y in places]
    labels = {}
    for index in np.argsort(places[:, 1]).tolist():
        (x, star_y), width = places[index], 7.2 * len(names[index])
        shifts = sorted(range(-_PANEL_PX, _PANEL_PX, 2), key=abs)
        for shift, start in itertools.product(shifts, (x + reach, x - reach - width)):
            y, inside = star_y + shift, start > 4 and start + width < _PANEL_PX - 4
            clear = all(start >= right or left >= start + width or abs(y - at) >= 8 + half for left, right, at, half in taken)
            if inside and 10 < y < _PANEL_PX - 10 and clear:
                break
        taken.append((start, start + width, y, 8.0))
        labels[index] = (x + reach, y, "start") if start > x else (x - reach, y, "end")
    return [labels[index] for index in range(len(names))]


def _legend(report: AlignmentReport) -> tuple[str, int]:
    """The legend's SVG, and its height in pixels."""
    a, b = (domain.name for domain in report.sample.domains)
    parts = [
        _mark(6, 10, "#626c7a", 0) + f'<text class="ink" x="18" y="14.5">{escape(a)}</text>',
        _mark(276, 10, "#626c7a", 1) + f'<text class="ink" x="288" y="14.5">{escape(b)}</text>',
        _star(548, 10, "#fff") + '<text class="ink" x="564" y="14.5">a class’s text</text>',
    ]
    columns = (2 * _PANEL_PX + _GAP_PX) // _COLUMN_PX
    for number, group in enumerate(report.sample.groups):
        x, y = number % columns * _COLUMN_PX, (number // columns + 1) * _ROW_PX
        parts.append(f'<rect x="{x}" y="{y + 4}" width="12" height="12" rx="3" fill="{_css(group)}"/>')
        parts.append(f'<text class="ink" x="{x + 18}" y="{y + 14.5}">{escape(group.name)}</text>')
    return "".join(parts), (2 + (len(report.sample.groups) - 1) // columns) * _ROW_PX


def _mark(x: float, y: float, colour: str, domain: int) -> str:
    """A disc for the first domain, an open triangle for the second."""
    r = _MARK_PX
    if domain == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}" fill-opacity=".55"/>'
    corners = f"M{x:.1f} {y - 1.3 * r:.1f}l{1.2 * r:.1f} {2.1 * r:.1f}h{-2.4 * r:.1f}z"
    return f'<path d="{corners}" fill="none" stroke="{colour}" stroke-width="1.2" stroke-opacity=".8"/>'


def _star(x: float, y: float, colour: str) -> str:
    angles = np.pi * (np.arange(10) / 5 - 0.5)
    radii = np.where(np.arange(10) % 2 == 0, _STAR_PX, 0.45 * _STAR_PX)
    corners = " ".join(f"{x + r * np.cos(t):.1f},{y + r * np.sin(t):.1f}" for r, t in zip(radii, angles, strict=True))
    return f'<polygon class="star" points="{corners}" fill="{colour}"/>'


def _css(group: ClassGroup) -> str:
    return "#{:02x}{:02x}{:02x}".format(*group.colour)


def render_html(report: AlignmentReport) -> str:
    """One page with the picture, the scores and what they mean inside."""
    environment = Environment(
        loader=PackageLoader("vltseg_core.analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(figure=_figure)
    return environment.get_template("alignment.html.j2").render(report=report, picture=Markup(draw(report)))


def _figure(score: Estimate) -> str:
    return f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f})"

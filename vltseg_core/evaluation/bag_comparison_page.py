# SPDX-License-Identifier: Apache-2.0
"""compare.html: two evaluations of one bag on a self-contained page."""

from __future__ import annotations

from html import escape

import numpy as np
from markupsafe import Markup

from vltseg_core.evaluation import bag_comparison_tables
from vltseg_core.evaluation.bag_comparison import BagComparison
from vltseg_core.evaluation.change import Change, Verdict
from vltseg_core.evaluation.html_page import page_template

_ROW_PX = 22
_COLOURS = {
    Verdict.BETTER: "var(--better)",
    Verdict.WORSE: "var(--worse)",
    Verdict.NOISE: "var(--noise)",
    Verdict.UNKNOWN: "var(--noise)",
}


def render_bag_comparison(comparison: BagComparison) -> str:
    """The page: what changed in words, then every figure with the interval of its difference."""
    return page_template("bag_comparison.html.j2").render(
        title="Two evaluations of one bag",
        comparison=comparison,
        summary=bag_comparison_tables.summary(comparison),
        tables=[
            (title, unit, changes, Markup(difference_chart(changes, unit, f"{title}: differences")))
            for title, unit, changes in bag_comparison_tables.tables(comparison)
        ],
        number=bag_comparison_tables.number,
        interval_text=bag_comparison_tables.interval_text,
        colours=_COLOURS,
    )


def difference_chart(changes: dict[str, Change], unit: str, label: str) -> str:
    """A dot for each difference with its interval, about a line at 0; grey where it is no more than noise."""
    ends = [abs(value) for change in changes.values() for value in (change.difference, *change.interval)]
    reach = max((end for end in ends if not np.isnan(end)), default=0.0) * 1.08 or 1.0
    parts = [f'<div class="bars" role="img" aria-label="{escape(label)}">']
    middle = _ROW_PX / 2
    for name, change in changes.items():
        colour = _COLOURS[change.verdict]

        def place(value: float) -> str:
            return f"{50 + 50 * value / reach:.2f}%"

        shapes = [f'<line x1="50%" x2="50%" y1="0" y2="{_ROW_PX}" stroke="var(--muted)" stroke-width="1"/>']
        low, high = change.interval
        if not np.isnan(low):
            shapes.append(
                f'<line x1="{place(low)}" x2="{place(high)}" y1="{middle:g}" y2="{middle:g}" stroke="{colour}" '
                'stroke-width="3" stroke-linecap="round" opacity="0.6"/>'
            )
        if change.is_known:
            shapes.append(f'<circle cx="{place(change.difference)}" cy="{middle:g}" r="5" fill="{colour}"/>')
        text = bag_comparison_tables.number(change.difference, unit, signed=True)
        parts.append(
            f'<span>{escape(name)}</span><svg width="100%" height="{_ROW_PX}">{"".join(shapes)}</svg><span>{text}</span>'
        )
    return "".join([*parts, "</div>"])

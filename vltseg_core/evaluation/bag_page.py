# SPDX-License-Identifier: Apache-2.0
"""report.html of a bag's evaluation: one self-contained page with everything of `BagResult`, and pictures of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from vltseg_core.evaluation import bag_charts, latency
from vltseg_core.evaluation.bag_charts import Curve, Tick
from vltseg_core.evaluation.bag_result import INTERVAL_CAUTION, BagResult
from vltseg_core.evaluation.bootstrap import NO_INTERVAL
from vltseg_core.evaluation.calibration import CoveragePoint
from vltseg_core.evaluation.charts import latency_chart, series_colour, series_key
from vltseg_core.evaluation.html_page import PictureRow, page_template
from vltseg_core.evaluation.sequence_result import ResultGroup
from vltseg_core.labels import CITYSCAPES, ClassTable, SemanticClass

MIN_CONFIDENCES = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Thresholds at which right and kept pixels are told."""
_MAX_CURVES = 6
_MAX_SECTIONS = 12
_LATENCY_TICKS_MS = (1, 5, 10, *latency.DEADLINES_MS, 1000, 10_000, 100_000)


class ClassRow(NamedTuple):
    """A class, and its value in each column of a table."""

    name: str
    colour: tuple[int, int, int]
    values: list[float]


class ConfidenceRow(NamedTuple):
    """A group's calibration error, and its points at `MIN_CONFIDENCES`; no points where nothing came with a confidence."""

    name: str
    expected_error: float
    points: list[CoveragePoint]


def render_bag_page(result: BagResult, pictures: Sequence[PictureRow], files: Sequence[tuple[str, str]]) -> str:
    """The page, light and dark, for narrow and wide windows.

    pictures: rows to show, those of a kind (`PictureRow.kind`) together. files: path relative to the page, and what it is.
    """
    total = result.total
    groups = (*result.conditions, total) if len(result.conditions) > 1 else (total,)
    curves = _curve_groups(result)
    confusion = total.confusion
    return page_template("bag.html.j2").render(
        title="Bag evaluation",
        result=result,
        total=total,
        groups=groups,
        means={**result.by_condition, total.name: result.pooled},
        latency_of=latency.summarise,
        deadlines_of=latency.deadline_shares,
        miou_chart=Markup(_miou_chart(result)) if result.has_truth else "",
        class_rows=_class_rows(groups, result.classes),
        confusion=Markup(bag_charts.confusion_table(confusion.counts, result.classes)) if confusion is not None else "",
        interval_caution=INTERVAL_CAUTION,
        latency_chart=Markup(latency_chart(np.asarray(total.latencies_ms), _sections(result), "latency of each frame")),
        key=Markup(series_key([group.name for group in curves])) if len(curves) > 1 else "",
        deadline_chart=Markup(_deadline_chart(curves)) if total.num_answered else "",
        reliability=Markup(bag_charts.reliability_chart(total.calibration.reliability(), "right pixels by confidence")),
        coverage=Markup(_coverage_chart(curves)),
        min_confidences=MIN_CONFIDENCES,
        confidence_rows=[_confidence_row(group) for group in groups],
        flicker_chart=Markup(_flicker_chart(groups)) if total.flicker.num_still else "",
        shares=Markup(_share_chart(groups)),
        share_rows=_share_rows(groups),
        sequences=[(one, ResultGroup("", (one,))) for one in result.sequences],
        legend=_shown_classes(result),
        pictures=[(kind, list(rows)) for kind, rows in groupby(pictures, lambda row: row.kind)],
        files=files,
    )


def _miou_chart(result: BagResult) -> str:
    rows = [(name, mean.value, mean.interval) for name, mean in result.by_condition.items()]
    if len(rows) > 1:
        rows += [("all, pooled", *result.pooled), ("mean of conditions", *result.mean)]
    else:
        rows = [(rows[0][0], *result.pooled)]
    return bag_charts.interval_chart(rows, "mean IoU by condition")


def _curve_groups(result: BagResult) -> tuple[ResultGroup, ...]:
    """What gets a line of its own: the conditions, or all as one where their colours would run out."""
    return result.conditions if 1 < len(result.conditions) <= _MAX_CURVES else (result.total,)


def _class_rows(groups: Sequence[ResultGroup], classes: ClassTable) -> list[ClassRow]:
    """IoU by group of every class that occurs in any ground truth."""
    missing = np.full(len(classes), np.nan)
    columns = [group.confusion.iou() if group.confusion is not None else missing for group in groups]
    rows = [ClassRow(c.name, c.colour, [float(iou[c.train_id]) for iou in columns]) for c in classes.classes]
    return [row for row in rows if not np.isnan(row.values).all()]


def _sections(result: BagResult) -> list[tuple[str, int]]:
    """Conditions in the order of playing with their frames; without names where they would not be readable."""
    runs = [
        (condition, sum(len(one.timings) for one in members))
        for condition, members in groupby(result.sequences, lambda one: one.condition)
    ]
    return runs if len(runs) <= _MAX_SECTIONS else [("", result.total.num_frames)]


def _deadline_chart(groups: Sequence[ResultGroup]) -> str:
    """Share of all frames answered within a time, over the time's logarithm."""
    answered = np.concatenate([np.asarray(group.latencies_ms) for group in groups])
    answered = answered[~np.isnan(answered)]
    bottom_ms = 5.0 if answered.min() > 5 else 1.0
    top_ms = max(200.0, 1.2 * float(answered.max()))
    times_ms = np.geomspace(bottom_ms, top_ms, 241)
    curves = []
    for number, group in enumerate(groups):
        latencies_ms = np.asarray(group.latencies_ms)
        num_within = np.array([np.count_nonzero(latencies_ms <= ms) for ms in times_ms], np.float64)
        shares = num_within / max(len(latencies_ms), 1)
        curves.append(Curve(series_colour(number), np.linspace(0, 1, len(times_ms), dtype=np.float64), shares))
    ticks = [
        Tick(float(np.log(ms / bottom_ms) / np.log(top_ms / bottom_ms)), f"{ms:g}", ms in latency.DEADLINES_MS)
        for ms in _LATENCY_TICKS_MS
        if bottom_ms <= ms <= top_ms
    ]
    return bag_charts.curve_chart(curves, ticks, bag_charts.percent_ticks(0, 1), "frames answered within a time")


def _coverage_chart(groups: Sequence[ResultGroup]) -> str:
    """Share of right pixels among those kept, over the share that is kept."""
    found = [
        (number, points) for number, group in enumerate(groups) if (points := list(_kept(group.calibration.coverage_curve())))
    ]
    lowest = min((point.accuracy for _, points in found for point in points), default=0.0)
    bottom = float(np.floor(10 * min(lowest, 0.9) + 1e-9) / 10)
    curves = []
    for number, points in found:
        coverage = np.array([point.coverage for point in points])
        accuracy = np.array([point.accuracy for point in points])
        curves.append(Curve(series_colour(number), coverage, (accuracy - bottom) / (1 - bottom)))
    ticks = bag_charts.percent_ticks(0, 1)
    return bag_charts.curve_chart(curves, ticks, bag_charts.percent_ticks(bottom, 1), "right pixels by share of pixels kept")


def _kept(points: Sequence[CoveragePoint]) -> Iterator[CoveragePoint]:
    """The points that say something new, and stand for more than a thousandth of the pixels."""
    last = float("nan")
    for point in points:
        if point.coverage > 0.001 and point.coverage != last:
            last = point.coverage
            yield point


def _confidence_row(group: ResultGroup) -> ConfidenceRow:
    curve = group.calibration.coverage_curve()
    points = [curve[round(threshold * 255)] for threshold in MIN_CONFIDENCES] if curve else []
    return ConfidenceRow(group.name, group.calibration.expected_error(), points)


def _flicker_chart(groups: Sequence[ResultGroup]) -> str:
    rows = [(group.name, group.flicker.share, NO_INTERVAL) for group in groups]
    largest = max((share for _, share, _ in rows if not np.isnan(share)), default=0.0)
    top = next(top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if largest <= top)
    return bag_charts.interval_chart(rows, "flicker by condition", top)


def _label_shares(group: ResultGroup) -> list[float]:
    total = max(int(group.label_pixels.sum()), 1)
    return [float(count) / total for count in group.label_pixels[: len(CITYSCAPES)]]


def _share_chart(groups: Sequence[ResultGroup]) -> str:
    return bag_charts.share_chart([(group.name, _label_shares(group)) for group in groups], CITYSCAPES, "class shares")


def _share_rows(groups: Sequence[ResultGroup]) -> list[ClassRow]:
    columns = [_label_shares(group) for group in groups]
    rows = [ClassRow(c.name, c.colour, [shares[c.train_id] for shares in columns]) for c in CITYSCAPES.classes]
    rows = [row for row in rows if any(row.values)]
    if any(group.label_pixels[len(CITYSCAPES) :].any() for group in groups):
        rows.append(ClassRow("no label", (128, 128, 128), [1 - sum(shares) for shares in columns]))
    return rows


def _shown_classes(result: BagResult) -> list[SemanticClass]:
    """The classes whose colours the pictures may show: those of the masks, and those of a truth of other classes."""
    confusion = result.total.confusion
    truth = [] if confusion is None else [c for c in result.classes.classes if confusion.counts[c.train_id].any()]
    true_colours = {entry.colour for entry in truth}
    pixels = result.total.label_pixels
    shown = [entry for entry in CITYSCAPES.classes if pixels[entry.train_id] or entry.colour in true_colours]
    return shown + [entry for entry in truth if entry.colour not in {own.colour for own in shown}]

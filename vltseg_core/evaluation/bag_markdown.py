# SPDX-License-Identifier: Apache-2.0
"""results.md of a bag's evaluation: the tables of results.json for a reader, a merge request or a wiki."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vltseg_core.evaluation import latency
from vltseg_core.evaluation.bag_result import INTERVAL_CAUTION, BagResult, MeanIou
from vltseg_core.evaluation.sequence_result import ResultGroup

_NOTHING = "–"
_MIN_CONFIDENCES = (0.0, 0.25, 0.5, 0.75, 0.9)


def render_markdown(result: BagResult) -> str:
    """The whole page."""
    how = "frame by frame (lossless)" if result.lossless else f"at {result.rate:g} times real time"
    parts = [f"# {result.source}", "", f"Played {how}, min_confidence {result.min_confidence:g}."]
    if result.drawn:
        parts += ["", "**These scenes are drawn, not photographed.** They say nothing of a real road."]
    parts += ["", *(f"- {remark}" for remark in result.remarks)]
    groups = (*result.conditions, result.total) if len(result.conditions) > 1 else (result.total,)
    if result.has_truth:
        parts += _section("IoU", _accuracy(result, groups))
        parts += _section("IoU by class, in percent", _classes(result, groups))
        parts += _section("Sequences", _sequences(result))
    parts += _section("In time", _timing(groups))
    if result.total.calibration.has_pixels:
        parts += _section("Confidence", _confidence(result, groups))
    named = [("network", *entry) for entry in result.network] + [("machine", *entry) for entry in result.machine]
    parts += _section("Run", _table(["", "", ""], named))
    return "\n".join(parts) + "\n"


def _accuracy(result: BagResult, groups: Sequence[ResultGroup]) -> list[str]:
    own = {**result.by_condition, result.total.name: result.pooled}
    rows = [(g.name, *_with_interval(own[g.name]), _count(g), _percent(g.flicker.share, 2)) for g in groups]
    if len(result.conditions) > 1:
        rows.append(("mean of conditions", *_with_interval(result.mean), "", ""))
    return [*_table(["", "mIoU %", "95 % interval", "frames evaluated", "flicker %"], rows), "", INTERVAL_CAUTION]


def _classes(result: BagResult, groups: Sequence[ResultGroup]) -> list[str]:
    missing = np.full(len(result.classes), np.nan)
    columns = [group.confusion.iou() if group.confusion is not None else missing for group in groups]
    rows = [(name, *(_percent(float(iou[i])) for iou in columns)) for i, name in enumerate(result.classes.names)]
    return _table(["", *(group.name for group in groups)], [row for row in rows if set(row[1:]) != {_NOTHING}])


def _sequences(result: BagResult) -> list[str]:
    groups = [(one, ResultGroup("", (one,))) for one in result.sequences]
    rows = [(one.sequence or _NOTHING, one.condition, _percent(group.mean_iou), _count(group)) for one, group in groups]
    return _table(["sequence", "condition", "mIoU %", "frames evaluated"], rows)


def _timing(groups: Sequence[ResultGroup]) -> list[str]:
    rows = []
    for group in groups:
        counts = [group.num_frames, group.num_answered, group.num_dropped, group.num_refused, group.num_late]
        summaries = [latency.summarise(ms) for ms in (group.latencies_ms, group.stamp_latencies_ms)]
        times = [_NOTHING if np.isnan(ms) else f"{ms:.1f}" for summary in summaries for ms in summary]
        shares = [_percent(share) for share in latency.deadline_shares(group.latencies_ms).values()]
        rows.append((group.name, *map(str, counts), " / ".join(times[:3]), " / ".join(times[3:]), *shares))
    within = [f"within {ms:g} ms, %" for ms in latency.DEADLINES_MS]
    percentiles = "median / p95 / p99, ms"
    header = ["", "in", "answered", "dropped", "rejected", "late"]
    table = _table([*header, f"publish to mask: {percentiles}", f"stamp to mask: {percentiles}", *within], rows)
    return [*table, "", "Late: answered after the camera's next frame. Within: of all frames in."]


def _confidence(result: BagResult, groups: Sequence[ResultGroup]) -> list[str]:
    rows = []
    for group in groups:
        curve = group.calibration.coverage_curve()
        points = [curve[round(threshold * 255)] for threshold in _MIN_CONFIDENCES] if curve else []
        cells = [f"{_percent(point.accuracy)} of {_percent(point.coverage)}" for point in points]
        rows.append((group.name, _percent(group.calibration.expected_error(), 2), *(cells or [_NOTHING] * len(_MIN_CONFIDENCES))))
    header = ["", "ECE %", *(f"from {threshold:g} on" for threshold in _MIN_CONFIDENCES)]
    words = ["Right % of the pixels kept, and these in % of all annotated ones, where pixels under that confidence are dropped."]
    if result.min_confidence > 0:
        words.append(f"ECE is over the pixels kept at min_confidence {result.min_confidence:g} alone.")
    return [*_table(header, rows), "", " ".join(words)]


def _with_interval(mean_iou: MeanIou) -> tuple[str, str]:
    low, high = mean_iou.interval
    return _percent(mean_iou.value), _NOTHING if np.isnan(low) else f"{_percent(low)} to {_percent(high)}"


def _count(group: ResultGroup) -> str:
    return str(group.confusion.num_images) if group.confusion is not None else "0"


def _percent(share: float, digits: int = 1) -> str:
    return _NOTHING if np.isnan(share) else f"{100 * share:.{digits}f}"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]

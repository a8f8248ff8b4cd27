# SPDX-License-Identifier: Apache-2.0
"""Two evaluations of one bag: what changed, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_core.evaluation import calibration, latency, paired_resamples
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.change import NO_SPREAD, Change, Verdict, change_of
from vltseg_core.evaluation.paired_resamples import Stratum
from vltseg_core.evaluation.sequence_result import ResultGroup, SequenceResult

FrameFigure = Callable[[ResultGroup], Callable[[NDArray[np.float64]], float]]
"""Makes of a run what gives a figure for weights float64 [N], one a frame."""
_NUM_LEVELS = calibration.NUM_LEVELS


class Setting(NamedTuple):
    """Something that is not the same in both runs' set-up."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class BagComparison:
    """What changed from one run to another. Shares and IoU are 0..1, times milliseconds."""

    before: BagResult
    """Cut down to the drives that both have, as `after` is."""
    after: BagResult
    settings: tuple[Setting, ...]
    remarks: tuple[str, ...]
    """Sentences that a reader must see."""
    accuracy: dict[str, Change]
    """The mean IoU, pooled and as the mean of the conditions; empty where a run has no ground truth."""
    conditions: dict[str, Change]
    """Mean IoU by condition."""
    classes: dict[str, Change]
    """IoU of each class that the ground truth shows, pooled."""
    latencies: dict[str, Change]
    shares: dict[str, Change]
    """Of all frames: dropped, late, rejected, answered within the deadlines."""
    steadiness: dict[str, Change]
    """Calibration error and flicker."""

    @property
    def verdicts(self) -> dict[Verdict, list[str]]:
        """Which figures changed how; the classes and conditions by name."""
        found: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
        for changes in (self.accuracy, self.conditions, self.classes, self.latencies, self.shares, self.steadiness):
            for name, change in changes.items():
                found[change.verdict].append(name)
        return found


def compare_bags(before: BagResult, after: BagResult) -> BagComparison:
    """Compare over the drives that both runs played; raises InputError where they have no drive or no classes in common."""
    if before.has_truth and after.has_truth and before.classes.names != after.classes.names:
        odd = sorted(set(before.classes.names) ^ set(after.classes.names)) or ["their order"]
        raise InputError(
            f"the runs are judged over different classes ({len(before.classes)} and {len(after.classes)}; {odd[0]} differs): "
            "compare evaluations over the same ground truth"
        )
    before, after, remarks = _matched(before, after)
    strata: dict[str, Stratum] = {}
    for number, (own, other) in enumerate(zip(before.conditions, after.conditions, strict=True)):
        stratum = paired_resamples.draw_stratum(own, other, number)
        if stratum is not None:
            strata[own.name] = stratum
    return BagComparison(
        before=before,
        after=after,
        settings=tuple(_settings(before, after)),
        remarks=(*remarks, *_remarks(before, after)),
        accuracy=_accuracy(before, after, strata),
        conditions=_conditions(before, after, strata),
        classes=_classes(before, after, strata),
        latencies=_latencies(before, after),
        shares=_shares(before, after),
        steadiness=_steadiness(before, after),
    )


def _matched(before: BagResult, after: BagResult) -> tuple[BagResult, BagResult, list[str]]:
    """Both runs with the drives that they have in common, in one order, and what was left out."""
    runs = [{(one.condition, one.sequence): one for one in run.sequences} for run in (before, after)]
    own, other = runs
    common = [key for key in own if key in other and _is_same_drive(own[key], before.rate, other[key], after.rate)]
    if not common:
        raise InputError(
            f"the runs have no drive in common (one: {before.source}; the other: {after.source}): evaluate the same bag twice"
        )
    left_out = list(dict.fromkeys(" ".join(filter(None, key)) for run in runs for key in run if key not in common))
    remarks = []
    if left_out:
        some = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
        remarks.append(f"Compared over the {len(common)} drives that both runs played alike; left out: {some}.")
    cut = [
        replace(run, sequences=tuple(by_key[key] for key in common)) for run, by_key in zip((before, after), runs, strict=True)
    ]
    return cut[0], cut[1], remarks


def _is_same_drive(own: SequenceResult, own_rate: float, other: SequenceResult, other_rate: float) -> bool:
    """Whether the camera gave as many frames at the same times; what was played faster came closer together."""
    if len(own.timings) != len(other.timings):
        return False
    gaps = [np.array([t.interval_ms for t in one.timings]) * rate for one, rate in ((own, own_rate), (other, other_rate))]
    return bool(np.allclose(gaps[0][:-1], gaps[1][:-1], rtol=1e-3, atol=0.01, equal_nan=True))


def _pace(result: BagResult) -> str:
    return "frame by frame (lossless)" if result.lossless else f"at {result.rate:g} times real time"


def _settings(before: BagResult, after: BagResult) -> Iterator[Setting]:
    pairs = [("played", _pace(before), _pace(after))]
    pairs.append(("min_confidence", f"{before.min_confidence:g}", f"{after.min_confidence:g}"))
    for own, other in ((before.network, after.network), (before.machine, after.machine)):
        told = dict(own), dict(other)
        pairs += [(label, told[0].get(label, "–"), told[1].get(label, "–")) for label in {**told[0], **told[1]}]
    return (Setting(*pair) for pair in pairs if pair[1] != pair[2])


def _remarks(before: BagResult, after: BagResult) -> Iterator[str]:
    if _pace(before) != _pace(after):
        yield "The runs were played at different paces: their latencies, drops and flicker are not those of one test."
    if before.machine != after.machine:
        yield "The runs were made on different machines or systems: latencies compare those too."
    if before.has_truth != after.has_truth:
        yield "Only one of the runs has ground truth: IoU and calibration cannot be compared."
    if before.min_confidence != after.min_confidence:
        yield "The runs kept different pixels (min_confidence): the calibration error (ECE), over those kept, is not compared."
    own, other = before.total.confusion, after.total.confusion
    if own is not None and other is not None and not np.array_equal(own.counts.sum(axis=1), other.counts.sum(axis=1)):
        yield "The runs were judged on different frames, since not both answered every one: IoU may change by that too."


def _accuracy(before: BagResult, after: BagResult, strata: dict[str, Stratum]) -> dict[str, Change]:
    if not strata:
        return {}
    parts = list(strata.values())
    spread = paired_resamples.spread_of(parts)
    pooled = paired_resamples.pool(parts)
    has_spread = spread != NO_SPREAD
    drawn = (pooled[0].mean_iou(), pooled[1].mean_iou()) if has_spread else None
    changes = {"mIoU, all pixels pooled": change_of(before.total.mean_iou, after.total.mean_iou, drawn, spread)}
    if len(strata) > 1:
        values = [float(np.mean([g.mean_iou for g in run.conditions if g.name in strata])) for run in (before, after)]
        means = [np.asarray(np.mean([getattr(part, side).mean_iou() for part in parts], axis=0)) for side in ("before", "after")]
        drawn = (means[0], means[1]) if has_spread else None
        changes["mIoU, mean of conditions"] = change_of(values[0], values[1], drawn, spread)
    return changes


def _conditions(before: BagResult, after: BagResult, strata: dict[str, Stratum]) -> dict[str, Change]:
    changes = {}
    for own, other in zip(before.conditions, after.conditions, strict=True):
        if own.name in strata:
            part = strata[own.name]
            drawn = (part.before.mean_iou(), part.after.mean_iou()) if part.num_units > 1 else None
            changes[own.name] = change_of(own.mean_iou, other.mean_iou, drawn, part.spread)
    return changes


def _classes(before: BagResult, after: BagResult, strata: dict[str, Stratum]) -> dict[str, Change]:
    own, other = before.total.confusion, after.total.confusion
    if own is None or other is None or not strata:
        return {}
    spread = paired_resamples.spread_of(list(strata.values()))
    drawn = [resamples.iou() for resamples in paired_resamples.pool(list(strata.values()))]
    changes = {}
    for k, name in enumerate(before.classes.names):
        pair = (drawn[0][:, k], drawn[1][:, k]) if spread != NO_SPREAD else None
        change = change_of(float(own.iou()[k]), float(other.iou()[k]), pair, spread)
        if change.is_known:
            changes[name] = change
    return changes


def _latencies(before: BagResult, after: BagResult) -> dict[str, Change]:
    summaries = [latency.summarise(run.total.latencies_ms) for run in (before, after)]
    changes = {}
    for name, share, own, other in zip(("median", "p95", "p99"), (0.5, 0.95, 0.99), *summaries, strict=True):
        drawn, spread = paired_resamples.draw_frames(before.total, after.total, _percentile(share))
        changes[f"latency {name}"] = change_of(own, other, drawn, spread, more_is_better=False)
    return {name: change for name, change in changes.items() if change.is_known}


def _percentile(share: float) -> FrameFigure:
    def of_run(group: ResultGroup) -> Callable[[NDArray[np.float64]], float]:
        latencies_ms = np.asarray(group.latencies_ms)
        order = np.argsort(latencies_ms)[: group.num_answered]  # NaN is sorted to the end
        ordered_ms = latencies_ms[order]

        def weighted(weights: NDArray[np.float64]) -> float:
            summed = np.cumsum(weights[order])
            return float(ordered_ms[np.searchsorted(summed, share * summed[-1])]) if summed.size else float("nan")

        return weighted

    return of_run


def _shares(before: BagResult, after: BagResult) -> dict[str, Change]:
    figures: dict[str, tuple[Callable[[ResultGroup], NDArray[np.bool_]], bool]] = {
        "frames dropped": (lambda group: np.array([np.isnan(t.latency_ms) and not t.refused for t in group.timings]), False),
        "frames rejected": (lambda group: np.array([t.refused for t in group.timings]), False),
        "frames late": (lambda group: np.array([t.latency_ms > t.interval_ms for t in group.timings]), False),
    }
    for deadline_ms in latency.DEADLINES_MS:
        figures[f"frames within {deadline_ms:g} ms"] = (_within(deadline_ms), True)
    changes = {}
    for name, (of_frames, more_is_better) in figures.items():
        own, other = (float(np.mean(of_frames(run.total))) for run in (before, after))
        drawn, spread = paired_resamples.draw_frames(before.total, after.total, _share(of_frames))
        changes[name] = change_of(own, other, drawn, spread, more_is_better=more_is_better)
    return changes


def _within(deadline_ms: float) -> Callable[[ResultGroup], NDArray[np.bool_]]:
    return lambda group: np.asarray(group.latencies_ms) <= deadline_ms


def _share(of_frames: Callable[[ResultGroup], NDArray[np.bool_]]) -> FrameFigure:
    def of_run(group: ResultGroup) -> Callable[[NDArray[np.float64]], float]:
        found = of_frames(group).astype(np.float64)
        return lambda weights: float(weights @ found / weights.sum())

    return of_run


def _steadiness(before: BagResult, after: BagResult) -> dict[str, Change]:
    groups = before.conditions, after.conditions
    changes = {}
    if before.min_confidence == after.min_confidence:
        values = [run.total.calibration.expected_error() for run in (before, after)]
        drawn, spread = paired_resamples.draw_drives(*groups, _errors)
        changes["calibration error (ECE)"] = change_of(values[0], values[1], drawn, spread, more_is_better=False)
    values = [run.total.flicker.share for run in (before, after)]
    drawn, spread = paired_resamples.draw_drives(*groups, _flicker)
    changes["flicker"] = change_of(values[0], values[1], drawn, spread, more_is_better=False)
    return {name: change for name, change in changes.items() if change.is_known}


def _errors(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return calibration.expected_errors(counts[:, :_NUM_LEVELS], counts[:, _NUM_LEVELS : 2 * _NUM_LEVELS])


def _flicker(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    still, changed = counts[:, -2], counts[:, -1]
    return np.where(still > 0, changed / np.where(still > 0, still, 1), np.nan)

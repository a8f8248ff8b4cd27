# SPDX-License-Identifier: Apache-2.0
"""results.json of a bag's evaluation: the figures to read, and the counts that they came from.

The counts make a result whole again: `read` gives back what `write` was given, for comparing runs and adding bags up.
Shares, IoU and confidence are 0..1, times milliseconds; what is not known is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_core.evaluation import latency
from vltseg_core.evaluation.bag_result import BagResult, MeanIou
from vltseg_core.evaluation.calibration import Calibration
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.flicker import Flicker
from vltseg_core.evaluation.sequence_result import FrameTiming, ResultGroup, SequenceResult
from vltseg_core.labels import CITYSCAPES, ClassTable, SemanticClass

FORMAT = 1
_TIMING_COLUMNS = ("latency_ms", "latency_from_stamp_ms", "interval_ms")
_COVERAGES = tuple(level / 255 for level in range(0, 256, 15))


def write(result: BagResult) -> dict[str, Any]:
    """The result as plain JSON values."""
    return {
        "format": FORMAT,
        "source": result.source,
        "lossless": result.lossless,
        "rate": result.rate,
        "min_confidence": result.min_confidence,
        "drawn_not_photographed": result.drawn,
        "playing_s": round(result.playing_s, 3),
        "classes": [{"name": entry.name, "colour": list(entry.colour)} for entry in result.classes.classes],
        "network": dict(result.network),
        "machine": dict(result.machine),
        "remarks": list(result.remarks),
        "mean_iou_pooled": _mean_iou(result.pooled),
        "mean_iou_over_conditions": _mean_iou(result.mean),
        "overall": group_figures(result.total, result.classes),
        "conditions": {
            group.name: {"mean_iou": _mean_iou(result.by_condition[group.name]), **group_figures(group, result.classes)}
            for group in result.conditions
        },
        "sequences": [
            {"condition": one.condition, "sequence": one.sequence, **group_figures(ResultGroup("", (one,)), result.classes)}
            for one in result.sequences
        ],
        "counts": [_counts(sequence) for sequence in result.sequences],
    }


def read(document: dict[str, Any]) -> BagResult:
    """The result that was written; raises InputError for what is none."""
    try:
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}, expected {FORMAT}")
        classes = [SemanticClass(i, _of_type(str, c["name"]), _colour(c["colour"])) for i, c in enumerate(document["classes"])]
        return BagResult(
            source=_of_type(str, document["source"]),
            lossless=_of_type(bool, document["lossless"]),
            rate=_finite(document["rate"]),
            min_confidence=_finite(document["min_confidence"]),
            drawn=_of_type(bool, document["drawn_not_photographed"]),
            classes=ClassTable("evaluated", tuple(classes)),
            sequences=tuple(_sequence(counts, len(classes)) for counts in document["counts"]),
            playing_s=_finite(document["playing_s"]),
            network=_texts(document["network"]),
            machine=_texts(document["machine"]),
            remarks=tuple(_of_type(str, remark) for remark in document["remarks"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"this is no results.json of vltseg evaluate-bag ({error!r}): evaluate the bag anew") from error


def group_figures(group: ResultGroup, classes: ClassTable) -> dict[str, Any]:
    """Everything that is said of a condition, a sequence or all of a bag."""
    figures: dict[str, Any] = {
        "frames_in": group.num_frames,
        "frames_answered": group.num_answered,
        "frames_rejected": group.num_refused,
        "frames_dropped": group.num_dropped,
        "frames_late": group.num_late,
        "latency_ms": _summary(group.latencies_ms),
        "latency_from_stamp_ms": _summary(group.stamp_latencies_ms),
        "answered_within_ms": {f"{ms:g}": _number(share) for ms, share in latency.deadline_shares(group.latencies_ms).items()},
        "flicker": _number(group.flicker.share),
        "class_shares": _class_shares(group),
    }
    if group.confusion is not None:
        iou = zip(classes.names, group.confusion.iou().tolist(), strict=True)
        figures["frames_evaluated"] = group.confusion.num_images
        figures["mean_iou_pooled"] = _number(group.mean_iou)
        figures["interval_units"] = group.num_units
        figures["pixel_accuracy"] = _number(group.confusion.pixel_accuracy())
        figures["iou"] = {name: _number(value) for name, value in iou}
    if group.calibration.has_pixels:
        figures["calibration"] = _calibration(group.calibration)
    return figures


def _class_shares(group: ResultGroup) -> dict[str, float | None]:
    pixels = group.label_pixels
    total = max(int(pixels.sum()), 1)
    shares = {entry.name: round(int(pixels[entry.train_id]) / total, 4) for entry in CITYSCAPES.classes}
    return {**shares, "unlabelled": round(int(pixels[len(CITYSCAPES) :].sum()) / total, 4)}


def _calibration(calibration: Calibration) -> dict[str, Any]:
    curve = calibration.coverage_curve()
    points = [curve[round(share * 255)] for share in _COVERAGES]
    return {
        "expected_error": _number(calibration.expected_error()),
        "bins": [
            {"pixels": entry.num_pixels, "confidence": _number(entry.confidence), "accuracy": _number(entry.accuracy)}
            for entry in calibration.reliability()
        ],
        "coverage": [{name: _number(value) for name, value in point._asdict().items()} for point in points],
    }


def _summary(latencies_ms: list[float]) -> dict[str, float | None]:
    summary = latency.summarise(latencies_ms)
    return {"median": _number(summary.median_ms, 2), "p95": _number(summary.p95_ms, 2), "p99": _number(summary.p99_ms, 2)}


def _mean_iou(mean_iou: MeanIou) -> dict[str, Any]:
    return {"value": _number(mean_iou.value), "interval_95": [_number(end) for end in mean_iou.interval]}


def _number(value: float, digits: int = 4) -> float | None:
    return None if np.isnan(value) else round(value, digits)


def _exact(values: Iterable[float]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def _known(value: float | None) -> float:
    return float("nan") if value is None else _finite(value)


T = TypeVar("T")


def _of_type(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)[:40]} where a {kind.__name__} belongs")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(float(value)):
        raise TypeError(f"{str(value)[:40]} where a number belongs")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise TypeError(f"{str(value)[:40]} where a count belongs")
    return value


def _table(values: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Counts of just this shape: numpy would spread fewer over the whole."""
    table = np.asarray(values)
    if table.shape != shape or table.dtype.kind not in "iu" or (table < 0).any():
        raise TypeError(f"something else where {' x '.join(map(str, shape))} counts belong")
    return table.astype(np.int64)


def _texts(entries: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, _of_type(str, value)) for key, value in _of_type(dict, entries).items())


def _colour(values: Any) -> tuple[int, int, int]:
    red, green, blue = (_count(value) for value in values)
    return min(red, 255), min(green, 255), min(blue, 255)


def _counts(sequence: SequenceResult) -> dict[str, Any]:
    return {
        "condition": sequence.condition,
        "sequence": sequence.sequence,
        "latency_ms": _exact(timing.latency_ms for timing in sequence.timings),
        "latency_from_stamp_ms": _exact(timing.stamp_latency_ms for timing in sequence.timings),
        "interval_ms": _exact(timing.interval_ms for timing in sequence.timings),
        "rejected": [index for index, timing in enumerate(sequence.timings) if timing.refused],
        "confusion_blocks": [{"images": block.num_images, "counts": block.counts.tolist()} for block in sequence.blocks],
        "confidence_pixels": sequence.calibration.num_pixels.tolist(),
        "confidence_right": sequence.calibration.num_right.tolist(),
        "flicker": [sequence.flicker.num_still, sequence.flicker.num_changed],
        "label_pixels": sequence.label_pixels.tolist(),
    }


def _sequence(counts: dict[str, Any], num_classes: int) -> SequenceResult:
    columns = zip(*(map(_known, counts[name]) for name in _TIMING_COLUMNS), strict=True)
    rejected = {_count(index) for index in counts["rejected"]}
    timings = [FrameTiming(own, stamp, gap, index in rejected) for index, (own, stamp, gap) in enumerate(columns)]
    result = SequenceResult(_of_type(str, counts["condition"]), _of_type(str, counts["sequence"]), timings)
    for entry in counts["confusion_blocks"]:
        block = ConfusionMatrix(num_classes)
        block.counts += _table(entry["counts"], block.counts.shape)
        block.num_images = _count(entry["images"])
        result.blocks.append(block)
    result.calibration.num_pixels += _table(counts["confidence_pixels"], result.calibration.num_pixels.shape)
    result.calibration.num_right += _table(counts["confidence_right"], result.calibration.num_right.shape)
    result.flicker = Flicker(*map(_count, counts["flicker"]))
    result.label_pixels += _table(counts["label_pixels"], result.label_pixels.shape)
    return result

# SPDX-License-Identifier: Apache-2.0
"""Results of bags that nobody played, with figures that can be reckoned by hand."""

from __future__ import annotations

import numpy as np

from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.flicker import Flicker
from vltseg_core.evaluation.html_page import Panel, PictureRow
from vltseg_core.evaluation.sequence_result import FrameTiming, SequenceResult
from vltseg_core.labels import CITYSCAPES

NAN = float("nan")


def drive(condition, name, shares, latencies_ms=()):
    """A drive whose frames of 100 road pixels are right in these shares; what is wrong goes to sidewalk."""
    result = SequenceResult(condition, name, [FrameTiming(ms, ms + 5, 100.0) for ms in latencies_ms])
    for share in shares:
        predicted = np.ones((10, 10), np.uint8)
        predicted.ravel()[: round(100 * share)] = 0
        truth = np.zeros((10, 10), np.uint8)
        frame = ConfusionMatrix(len(CITYSCAPES))
        frame.add(predicted, truth)
        result.add_confusion(frame)
        result.calibration.add(predicted, truth, np.full((10, 10), 204, np.uint8))
        result.label_pixels += np.bincount(predicted.ravel(), minlength=256)
    return result


def bag(*drives, **changes):
    said = {
        "source": "a bag",
        "lossless": False,
        "rate": 1.0,
        "min_confidence": 0.0,
        "drawn": False,
        "classes": CITYSCAPES,
        "playing_s": 2.0,
        "network": (("checkpoint", "tiny"),),
        "machine": (("cores", "2"),),
        "remarks": ("mind the gap",),
    }
    return BagResult(sequences=drives, **{**said, **changes})


def rich_bag():
    """Two conditions, three drives, every class in the truth, drops, flicker and a remark."""
    drives = (
        drive("day", "a", [0.8] * 12, [10.0, 20.0, NAN] * 8),
        drive("day", "b", [0.6] * 12, [40.0] * 20),
        drive("night, with a name that is longer than a narrow window", "c", [0.2] * 24, [120.0, 60.0] * 12),
    )
    generator = np.random.default_rng(0)
    for one in drives:
        for block in one.blocks:
            block.counts += generator.integers(0, 20, block.counts.shape) + np.eye(19, 20, dtype=np.int64) * 300
        one.flicker = Flicker(1000, 25)
        one.calibration.num_pixels += 100
        one.calibration.num_right += np.arange(256) * 100 // 255
    return bag(*drives)


def bag_without_truth():
    """One drive of a vehicle."""
    one = SequenceResult("sequence", "", [FrameTiming(ms, NAN, 33.0) for ms in (12.0, NAN, 50.0, 700.0)])
    one.label_pixels[[0, 10, 13, 255]] = (500, 300, 100, 100)
    one.flicker = Flicker(1000, 5)
    return bag(one, remarks=())


def bag_without_answers():
    """Played, and no mask came back."""
    return bag(SequenceResult("fog", "", [FrameTiming(NAN, NAN, 33.0)] * 3))


def picture_rows():
    """A best and a worst frame."""
    picture = np.full((90, 160, 3), (250, 10, 10), np.uint8)
    panels = tuple(Panel(name, picture) for name in ("camera image", "labels over it", "ground truth"))
    return [PictureRow(f"{kind} 1: day, 1.00 s", panels, f"The {kind} frames") for kind in ("best", "worst")]


def improved(result, share, sequences=None):
    """The same bag by a network that has this share of the wrong pixels right; sequences: only in these."""
    drives = []
    for old in result.sequences:
        new = SequenceResult(old.condition, old.sequence, list(old.timings))
        for block in old.blocks:
            counts = block.counts.copy()
            for k in range(len(counts) if sequences is None or old.sequence in sequences else 0):
                wrong = counts[k].copy()
                wrong[k] = 0
                mended = (wrong * share).astype(np.int64)
                counts[k] -= mended
                counts[k, k] += mended.sum()
            new.blocks.append(ConfusionMatrix.from_counts(counts, block.num_images))
        new.calibration.merge(old.calibration)
        new.flicker.merge(old.flicker)
        drives.append(new)
    return bag(*drives)

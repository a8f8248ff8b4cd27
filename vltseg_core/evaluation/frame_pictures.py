# SPDX-License-Identifier: Apache-2.0
"""The best and the worst frames of a target as pictures: image, labels over it, truth over it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.evaluation.comparison import FramePicture
from vltseg_core.evaluation.overlay import blend
from vltseg_core.evaluation.target_result import FrameResult, TargetResult
from vltseg_core.labels import CITYSCAPES, CLASS_TABLES, IGNORE, ClassTable, SemanticClass
from vltseg_core.runtime import Segmenter

NUM_BEST, NUM_WORST = 2, 3
PANEL_NAMES = ("image", "labels", "truth")
_MAX_WIDTH_PX = 960


def draw_frames(
    segmenter: Segmenter, evaluation_set: EvaluationSet, result: TargetResult, box: tuple[int, int] | None, stem: Path
) -> tuple[FramePicture, ...]:
    """Segment the chosen frames once more and write their pictures as STEM_FRAME_PANEL.jpg; those there are kept."""
    table = class_table(evaluation_set.class_names)
    pictures = []
    for place, frame in chosen_frames(result):
        files = tuple(stem.with_name(f"{stem.name}_{frame.number:05d}_{panel}.jpg") for panel in PANEL_NAMES)
        if not all(file.is_file() for file in files):
            labelled = evaluation_set.images[frame.number]
            predicted = evaluation_set.to_truth_classes[segmenter.segment([labelled.image], box=box)[0].labels]
            overlays = (blend(labelled.image, labels, table) for labels in (predicted, _annotated(labelled.codes, table)))
            for file, panel in zip(files, (labelled.image, *overlays), strict=True):
                picture = Image.fromarray(panel)
                picture.thumbnail((_MAX_WIDTH_PX, 4 * _MAX_WIDTH_PX))
                picture.save(file, "JPEG", quality=90)
        where = f", {frame.condition}" if frame.condition else ""
        pictures.append(FramePicture(f"{place}: {frame.name}{where}, mIoU {100 * frame.mean_iou:.1f} %", files))
    return tuple(pictures)


def chosen_frames(result: TargetResult) -> list[tuple[str, FrameResult]]:
    """Best frames, then worst ones, each once, with what they are; frames without truth are neither."""
    ranked = sorted((f for f in result.frames if not np.isnan(f.mean_iou)), key=lambda frame: -frame.mean_iou)
    best, rest = ranked[:NUM_BEST], ranked[NUM_BEST:]
    return [("best", frame) for frame in best] + [("worst", frame) for frame in rest[::-1][:NUM_WORST]]


def class_table(class_names: Sequence[str]) -> ClassTable:
    """The table of these classes: a known one, else Cityscapes' colours by name and clearly different ones for the rest."""
    for table in CLASS_TABLES.values():
        if table.names == tuple(class_names):
            return table
    known = {c.name: c.colour for c in CITYSCAPES.classes}
    classes = []
    for i, name in enumerate(class_names):
        red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(i * 0.618 % 1, 0.65, 0.9))
        classes.append(SemanticClass(i, name, known.get(name, (red, green, blue))))
    return ClassTable("own", tuple(classes))


def _annotated(codes: NDArray[np.uint8], table: ClassTable) -> NDArray[np.uint8]:
    return np.where(codes < len(table), codes, IGNORE).astype(np.uint8)

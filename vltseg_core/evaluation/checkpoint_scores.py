# SPDX-License-Identifier: Apache-2.0
"""A weights file's figures on data sets: the one place where a sweep meets the evaluation.

python -m vltseg_core.evaluation.checkpoint_scores --checkpoint C --target NAME[:SPLIT]=FOLDER ... -o FILE.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from vltseg_core.data import demo_images
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.errors import ConfigurationError, VltsegError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.runtime import Segmenter

_NUM_DEMO_IMAGES = 24


class Scores(TypedDict):
    """Mean IoU and IoU by class, 0..1; None for a class that the truth never shows."""

    miou: float
    iou: dict[str, float | None]


def evaluation_set(target: str) -> EvaluationSet:
    """The images of "NAME[:SPLIT]=FOLDER" (split val unless given) or "demo:CONDITION"."""
    name, _, folder = target.partition("=")
    source, _, split = name.partition(":")
    if source == "demo" and not folder and split in CONDITIONS:
        return demo_images.evaluation_set(split, _NUM_DEMO_IMAGES)
    if not folder:
        raise ConfigurationError(f"target '{target}' names no folder: give NAME[:SPLIT]=FOLDER, or demo:CONDITION")
    return data_set(source).evaluation_set(Path(folder), split or "val")


def evaluate_checkpoint(weights: Path, targets: Sequence[str], *, device: str = "auto") -> dict[str, Scores]:
    """Scores by target, each under its name without the folder; labels at each image's own size, pooled over all pixels."""
    segmenter = Segmenter.load(weights, device=device)
    try:
        return {target.partition("=")[0]: _scores(segmenter, evaluation_set(target)) for target in targets}
    finally:
        segmenter.close()


def _scores(segmenter: Segmenter, measured: EvaluationSet) -> Scores:
    confusion = ConfusionMatrix(len(measured.class_names))
    for index in range(len(measured.images)):
        labelled = measured.images[index]
        labels = segmenter.segment([labelled.image])[0].labels
        confusion.add(measured.to_truth_classes[labels], labelled.codes)
    iou = [None if np.isnan(value) else round(value, 4) for value in confusion.iou().tolist()]
    return {"miou": round(confusion.mean_iou(), 4), "iou": dict(zip(measured.class_names, iou, strict=True))}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.write_text(json.dumps(evaluate_checkpoint(arguments.checkpoint, arguments.target)), encoding="utf-8")


if __name__ == "__main__":
    try:
        _main()
    except VltsegError as error:
        sys.exit(f"error: {error}")

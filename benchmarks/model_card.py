# SPDX-License-Identifier: Apache-2.0
"""The numbers of a model card: benchmarks/model_card.py tiny --data camvid=PATH kitti=PATH [--json FILE] [--picture FILE.jpg].

The picture shows a drawn street that training never saw in each condition: image, prediction, truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from vltseg_core.data import demo_images
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.evaluation.comparison_markdown import markdown_table
from vltseg_core.evaluation.evaluator import evaluate
from vltseg_core.evaluation.html_page import percent
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.runtime import Segmenter
from vltseg_core.training.sample_predictions import comparison

_PICTURE_WIDTH = 960
_JPEG_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 85)


def milliseconds(segmenter: Segmenter, size: tuple[int, int], num_passes: int = 30) -> float:
    """Median time of a whole `segment` of one image."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    times = []
    for _ in range(num_passes):
        start = time.perf_counter()
        segmenter.segment([image])
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000


def picture(segmenter: Segmenter, sets: Sequence[EvaluationSet], number: int) -> NDArray[np.uint8]:
    """Frame `number` of each set in a row: image, prediction and truth, uint8 [h, w, 3] RGB, _PICTURE_WIDTH wide."""
    rows = []
    for shown_set in sets:
        frame = shown_set.images[number]
        labels = segmenter.segment([frame.image])[0].labels
        rows.append(comparison(frame, shown_set.to_truth_classes[labels], shown_set))
    whole = np.concatenate(rows)
    size = (_PICTURE_WIDTH, round(len(whole) * _PICTURE_WIDTH / whole.shape[1]))
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)


def _cell(iou: float) -> str:
    return "" if np.isnan(iou) else f"{100 * iou:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--num-demo-images", type=int, default=40, help="drawn frames a condition")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="JPEG of what it makes of one drawn street in each condition")
    parser.add_argument("--picture-frame", type=int, default=0, help="which of the drawn frames the picture shows")
    arguments = parser.parse_args()
    if arguments.picture and (arguments.picture.suffix != ".jpg" or not arguments.picture.parent.is_dir()):
        parser.error(f"--picture takes a .jpg in a folder that is there, not '{arguments.picture}'")
    segmenter = Segmenter.load(arguments.checkpoint)
    sets = {name: data_set(name).evaluation_set(Path(folder)) for name, _, folder in (d.partition("=") for d in arguments.data)}
    for condition in CONDITIONS:
        sets[f"drawn, {condition}"] = demo_images.evaluation_set(condition, arguments.num_demo_images)
    results = {}
    with Progress() as bar:
        for name, evaluation_set in sets.items():
            task = bar.add_task(name, total=len(evaluation_set.images))
            results[name] = evaluate(
                segmenter, evaluation_set, progress=lambda done, total, task=task: bar.update(task, completed=done)
            )

    rows = [
        (
            name,
            r.pooled.num_images,
            int(np.isfinite(r.pooled.iou()).sum()),
            percent(r.mean_iou),
            percent(r.pooled.pixel_accuracy()),
        )
        for name, r in results.items()
    ]
    print("\n" + markdown_table(["measured on", "images", "classes", "mIoU %", "pixel accuracy %"], rows))
    for class_names in dict.fromkeys(evaluation_set.class_names for evaluation_set in sets.values()):  # CamVid has its own
        ious = {name: results[name].iou() for name in sets if sets[name].class_names == class_names}
        by_class = [[name, *(_cell(iou[name]) for iou in ious.values())] for name in class_names]
        print("\n" + markdown_table(["class", *ious], by_class))
    as_they_are = Segmenter.load(arguments.checkpoint, max_input_pixels=0)
    speed = {f"{w}x{h}": milliseconds(as_they_are, (h, w)) for w, h in ((480, 360), (640, 360), (1280, 720))}
    print("\nsegment(), one image, entering as it is: " + ", ".join(f"{size} {ms:.0f} ms" for size, ms in speed.items()))
    print(f"{describe_machine()}; {time.strftime('%Y-%m-%d')}")
    if arguments.picture:
        drawn = [sets[f"drawn, {condition}"] for condition in CONDITIONS]
        cv2.imwrite(str(arguments.picture), picture(segmenter, drawn, arguments.picture_frame)[..., ::-1], _JPEG_QUALITY)
    if arguments.json:
        figures = {name: {"miou": result.mean_iou, "iou": result.iou()} for name, result in results.items()}
        arguments.json.write_text(json.dumps({"miou": figures, "ms": speed}, indent=1))


if __name__ == "__main__":
    main()

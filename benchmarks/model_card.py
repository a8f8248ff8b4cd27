# SPDX-License-Identifier: Apache-2.0
"""The numbers of a model card: python benchmarks/model_card.py tiny --data camvid=PATH kitti=PATH [--json FILE]."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from rich.progress import track

from vltseg_core.data import demo_images
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.runtime import Segmenter


def evaluate(segmenter: Segmenter, evaluation_set: EvaluationSet, name: str) -> ConfusionMatrix:
    """Labels at each image's own size against the truth, pooled."""
    confusion = ConfusionMatrix(len(evaluation_set.class_names))
    for index in track(range(len(evaluation_set.images)), description=name):
        labelled = evaluation_set.images[index]
        labels = segmenter.segment([labelled.image])[0].labels
        confusion.add(evaluation_set.to_truth_classes[labels], labelled.codes)
    return confusion


def milliseconds(segmenter: Segmenter, size: tuple[int, int], num_passes: int = 30) -> float:
    """Median time of a whole `segment` of one image."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    times = []
    for _ in range(num_passes):
        start = time.perf_counter()
        segmenter.segment([image])
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--num-demo-images", type=int, default=40, help="drawn frames a condition")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.checkpoint)
    sets = {name: data_set(name).evaluation_set(Path(folder)) for name, _, folder in (d.partition("=") for d in arguments.data)}
    for condition in CONDITIONS:
        sets[f"drawn, {condition}"] = demo_images.evaluation_set(condition, arguments.num_demo_images)
    confusions = {name: evaluate(segmenter, evaluation_set, name) for name, evaluation_set in sets.items()}

    print("\n| measured on | images | classes | mIoU % | pixel accuracy % |\n| --- | --- | --- | --- | --- |")
    for name, confusion in confusions.items():
        num_classes = int(np.isfinite(confusion.iou()).sum())
        row = (
            name,
            confusion.num_images,
            num_classes,
            f"{100 * confusion.mean_iou():.1f}",
            f"{100 * confusion.pixel_accuracy():.1f}",
        )
        print("| " + " | ".join(map(str, row)) + " |")
    names = sets["drawn, clear"].class_names
    print("\n| class | " + " | ".join(confusions) + " |\n| --- |" + " --- |" * len(confusions))
    for class_name in names:
        cells = []
        for name, confusion in confusions.items():
            known = dict(zip(sets[name].class_names, confusion.iou(), strict=True))
            value = known.get(class_name, np.nan)
            cells.append("" if np.isnan(value) else f"{100 * value:.0f}")
        print(f"| {class_name} | " + " | ".join(cells) + " |")
    speed = {f"{w}x{h}": milliseconds(segmenter, (h, w)) for w, h in ((480, 360), (640, 360), (1280, 720))}
    print("\nsegment(), one image: " + ", ".join(f"{size} {ms:.0f} ms" for size, ms in speed.items()))
    print(f"{describe_machine()}; {time.strftime('%Y-%m-%d')}")
    if arguments.json:
        figures = {
            name: {"miou": c.mean_iou(), "iou": dict(zip(sets[name].class_names, c.iou().tolist(), strict=True))}
            for name, c in confusions.items()
        }
        arguments.json.write_text(json.dumps({"miou": figures, "ms": speed}, indent=1))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What large images are worth to a network, entering at their own size and made smaller first (`max_input_pixels`).

    python benchmarks/image_sizes.py [CHECKPOINT] [--target camvid=PATH] [--max-input-pixels 0 260000 518400] [--size 1920x1080]

Streets that training never saw, drawn at --size in each condition, and frames of data sets enlarged --enlarge times (the pictures
bicubically, so they gain no detail; the labels by the nearest). Milliseconds are those of a whole `segment`, scored frames alone.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from rich.progress import Progress

from vltseg_core.data import demo_images
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.evaluation.comparison_markdown import markdown_table
from vltseg_core.evaluation.evaluator import evaluate, spread
from vltseg_core.evaluation.html_page import percent
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.evaluation.targets import parse_target
from vltseg_core.runtime import Segmenter

ENLARGED = "enlarged"


def enlarged(frame: LabelledImage, factor: float) -> LabelledImage:
    """A frame with so many times as many rows and columns."""
    image = cv2.resize(frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    codes = cv2.resize(frame.codes, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    return LabelledImage(np.asarray(image, np.uint8), np.asarray(codes, np.uint8))


def sets_of(arguments: argparse.Namespace) -> dict[str, EvaluationSet]:
    """What is measured on, by name; the frames are drawn or read when they are asked for."""
    width, height = (int(side) for side in arguments.size.split("x"))
    sets = {
        f"drawn, {condition}, {arguments.size}": demo_images.evaluation_set(
            condition, arguments.num_images, image_size=(height, width)
        )
        for condition in CONDITIONS
    }
    for target in map(parse_target, arguments.target):
        sets[f"{target.title}, {ENLARGED} {arguments.enlarge:g} times"] = target.evaluation_set
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="tiny")
    parser.add_argument("--target", nargs="*", default=[], metavar="NAME[:SPLIT][@WEATHER:SEVERITY]=FOLDER")
    parser.add_argument("--max-input-pixels", nargs="+", type=int, default=[0, 260_000, 518_400, 700_000], help="0: own size")
    parser.add_argument("--size", default="1920x1080", metavar="WxH", help="of drawn frames")
    parser.add_argument("--enlarge", type=float, default=3.0, help="rows and columns of data sets' frames")
    parser.add_argument("--num-images", type=int, default=16, help="frames of each set")
    arguments = parser.parse_args()
    segmenters = {most: Segmenter.load(arguments.checkpoint, max_input_pixels=most) for most in arguments.max_input_pixels}
    rows = []
    with Progress() as bar:
        for name, whole_set in sets_of(arguments).items():
            task = bar.add_task(name, total=arguments.num_images * len(segmenters))
            frames = [whole_set.images[i] for i in spread(len(whole_set.images), arguments.num_images)]
            if ENLARGED in name:
                frames = [enlarged(frame, arguments.enlarge) for frame in frames]
            few = whole_set._replace(images=frames, frame_names=tuple(map(str, range(len(frames)))), conditions=())
            cells = []
            for segmenter in segmenters.values():
                segmenter.segment([frames[0].image])
                result = evaluate(segmenter, few, progress=lambda done, total, task=task: bar.advance(task))
                cells.append(f"{percent(result.mean_iou)} ({1000 * result.seconds_per_frame:.0f} ms)")
            rows.append([name, *cells])
    columns = [f"at most {most} pixels" if most else "own size" for most in segmenters]
    print("\n" + markdown_table([f"mIoU %, {arguments.num_images} frames each", *columns], rows))
    print(f"\n{describe_machine()}; {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How fast training samples are decoded and augmented: crops of 1024x1024 by number of workers, and for each core.

    python benchmarks/data_loading.py [--workers 1 2] [--num-crops 60] [--photo FILE]

The images are of Cityscapes's size (2048x1024), as PNG (Cityscapes, GTA5, ACDC) and as JPEG (BDD100K, Mapillary), with PNG
labels. They are a photograph enlarged where one is given, else a drawn scene with sensor noise, so that the files are
about as large as real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from vltseg_core.data.data_set import TRAIN_IDS, DataSet, LabelMap
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.data.file_pairs import pair_files
from vltseg_core.data.transforms import Augmentation
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.training.training_samples import MixedSources, Source, Variety, joined

WIDTH, HEIGHT, CROP, NUM_FILES = 2048, 1024, 1024, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes that prepare samples")
    parser.add_argument("--num-crops", type=int, default=60, help="crops measured for each row")
    parser.add_argument("--photo", type=Path, help="an image to enlarge in place of the drawn scene")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg"):
            samples, megabytes = written(Path(folder) / suffix[1:], suffix, arguments.photo)
            of_one_core = crops_a_cpu_second(samples, arguments.num_crops)
            for num_workers in arguments.workers:
                rate = crops_a_second(samples, num_workers, arguments.num_crops)
                row = {"images": suffix[1:].upper(), "mb_a_file": round(megabytes, 2), "workers": num_workers}
                rows.append(row | {"crops_a_second": round(rate, 1), "crops_a_cpu_second": round(of_one_core, 1)})
    print(json.dumps({"machine": dict(describe_machine()), "date": str(date.today()), "rows": rows}))
    load = os.getloadavg()[0]
    print(f"\nLoad of the machine while it was measured: {load:.1f}\n")
    print("| images | MB a file | workers | crops a second | crops a CPU second |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def written(root: Path, suffix: str, photo: Path | None) -> tuple[MixedSources, float]:
    """Training samples from files in the folder, and the mean size of an image file in MB."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for number in range(NUM_FILES):
        image, labels = street(number, photo)
        cv2.imwrite(str(root / "images" / f"{number}{suffix}"), image[..., ::-1])
        cv2.imwrite(str(root / "labels" / f"{number}.png"), labels)
    data_set = DataSet(
        name="street",
        credit="",
        files=lambda folder, split: pair_files(folder / "images", folder / "labels"),
        splits=("train",),
        label_map=LabelMap(TRAIN_IDS),
    )
    source = Source(data_set.training_images(root), 1.0)
    sizes = [path.stat().st_size for path in (root / "images").iterdir()]
    samples = MixedSources([source], Augmentation(CROP, image_size=(WIDTH, HEIGHT)), variety=Variety(), seed=0)
    return samples, float(np.mean(sizes)) / 1e6


def street(number: int, photo: Path | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image uint8 [H, W, 3] RGB and its labels uint8 [H, W]."""
    frame = DemoSequence(number, condition="clear", image_size=(HEIGHT // 2, WIDTH // 2)).frame(0)
    picture = frame.image if photo is None else np.asarray(cv2.imread(str(photo)))[..., ::-1]
    size = (WIDTH, HEIGHT)
    noise = np.random.default_rng(number).normal(0, 2, (HEIGHT, WIDTH, 3))
    image = np.clip(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) + noise, 0, 255).astype(np.uint8)
    return image, np.asarray(cv2.resize(frame.labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def crops_a_second(samples: MixedSources, num_workers: int, num_crops: int) -> float:
    """The rate while every worker is at work, their queues full at both ends of the measurement."""
    waiting = 2 * num_workers
    loader = DataLoader(
        samples, 1, sampler=range(num_crops + 2 * waiting), num_workers=num_workers, collate_fn=joined,
        prefetch_factor=2, worker_init_fn=lambda worker: cv2.setNumThreads(0),
    )  # fmt: skip
    crops = iter(loader)
    for _ in range(waiting):
        next(crops)
    began = time.perf_counter()
    for _ in range(num_crops):
        next(crops)
    return num_crops / (time.perf_counter() - began)


def crops_a_cpu_second(samples: MixedSources, num_crops: int) -> float:
    """What one core does when it has nothing else to do, whatever else the machine is busy with."""
    cv2.setNumThreads(0)
    began = time.process_time()
    for number in range(num_crops):
        samples[number]
    return num_crops / (time.process_time() - began)


if __name__ == "__main__":
    main()

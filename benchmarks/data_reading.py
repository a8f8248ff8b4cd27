# SPDX-License-Identifier: Apache-2.0
"""Time of reading labelled frames whole, of counting a data set, and of simulated weather, at 2048x1024 unless said.

python benchmarks/data_reading.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vltseg_core.data import image_files
from vltseg_core.data.census import take_census
from vltseg_core.data.cityscapes import CITYSCAPES_DATA
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.data.weather import WEATHER_CONDITIONS, simulate_weather

WIDTH, HEIGHT, NUM_FRAMES = 2048, 1024, 24


def median_ms(action: Callable[[], object], repeats: int = 7) -> float:
    """Median wall time of a call, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[1:]))


def main() -> None:
    """Print every figure with what it is of."""
    print(f"{os.cpu_count()} cores, OpenCV {cv2.__version__}")
    drawn = DemoSequence(3, image_size=(HEIGHT, WIDTH)).frame(0)
    noisy = np.clip(drawn.image + np.random.default_rng(0).normal(0, 3, drawn.image.shape), 0, 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg"):
            path = Path(folder) / f"image{suffix}"
            cv2.imwrite(str(path), noisy[..., ::-1])
            content = path.read_bytes()
            look, read = median_ms(lambda c=content: image_files.damage(c)), median_ms(lambda p=path: image_files.read_image(p))
            print(f"{suffix} of {len(content) / 1e6:.1f} MB: read {read:.1f} ms, of these {look:.2f} ms looking for damage")
        _write_cityscapes(Path(folder), noisy, drawn.labels)
        files = CITYSCAPES_DATA.training_images(Path(folder))
        for num_workers in (1, os.cpu_count() or 1):
            start = time.perf_counter()
            take_census(files, num_workers=num_workers)
            print(f"census with {num_workers} workers: {NUM_FRAMES / (time.perf_counter() - start):.1f} frames a second")
    for condition in WEATHER_CONDITIONS[1:]:
        rng = np.random.default_rng(0)
        times = [
            median_ms(lambda d=d, c=condition, r=rng: simulate_weather(noisy, c, rng=r, depth_m=d)) for d in (drawn.depth_m, None)
        ]
        print(f"{condition}: {times[0]:.0f} ms with depth, {times[1]:.0f} ms without")


def _write_cityscapes(root: Path, image: np.ndarray, train_ids: np.ndarray) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "train/a").mkdir(parents=True)
    for number in range(NUM_FRAMES):
        cv2.imwrite(str(root / f"leftImg8bit/train/a/a_{number:06}_leftImg8bit.png"), image[..., ::-1])
        cv2.imwrite(str(root / f"gtFine/train/a/a_{number:06}_gtFine_labelIds.png"), train_ids)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Time of several images on a CPU: through the network together, and one by one.

    python benchmarks/batches.py [--checkpoint tiny] [--sizes 320x180 640x360 1280x720] [--images 2 6] [--rounds 7] [--json FILE]

Both ways take turns in one process, by `Segmenter.segment`; medians are compared. This is what decides how many pixels
`Segmenter` puts through the network at once; that limit is set aside here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from result_table import Row, finish

from vltseg_core.runtime import Segmenter

LIMIT = "vltseg_core.runtime.segmenter._CPU_PIXELS_AT_ONCE"
WAYS = {"together": sys.maxsize, "one by one": 1}


def measured(segmenter: Segmenter, size: str, num_images: int, rounds: int) -> Row:
    """Median milliseconds of each way, after one round that does not count."""
    width, height = map(int, size.split("x"))
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(num_images)]
    ms: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):
        for way, limit in WAYS.items():
            with mock.patch(LIMIT, limit):
                start = time.perf_counter()
                segmenter.segment(images)
                ms[way].append(1000 * (time.perf_counter() - start))
    medians = {f"{way} ms": statistics.median(taken[1:]) for way, taken in ms.items()}
    return {"size": size, "images": num_images, **medians, "ratio": medians["together ms"] / medians["one by one ms"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tiny")
    parser.add_argument("--sizes", nargs="+", default=["320x180", "640x360", "1280x720"])
    parser.add_argument("--images", nargs="+", type=int, default=[2, 6])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.checkpoint, device="cpu", backend="eager", max_input_pixels=0)
    rows = [measured(segmenter, size, count, arguments.rounds) for size in arguments.sizes for count in arguments.images]
    finish({"batches": rows}, arguments.json, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()

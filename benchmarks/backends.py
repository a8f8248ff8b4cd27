# SPDX-License-Identifier: Apache-2.0
"""The backends side by side: whole frames by each in turn, in one process, and how many times as fast as eager each is.

    python benchmarks/backends.py [--checkpoint tiny] [--sizes 640x360 1920x1080] [--backends compile onnxruntime]
        [--device cpu] [--precision auto] [--rounds 40] [--json FILE]

In every round each backend segments the same image once, by `Segmenter.segment` (uint8 in, labels and confidence out), so that a
machine that is now slow, now fast, is so for all of them. The ratio is the median over rounds, with its quartiles. In a thread of
its own, as the node's network runs. build s: what a first start costs, the engine's file included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from result_table import Row, finish

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.runtime import BackendSettings, Segmenter

EAGER = "eager"


def compared(segmenters: dict[str, Segmenter], built_s: dict[str, float], size: str, rounds: int) -> list[Row]:
    """A row for each backend, after three rounds that do not count."""
    width, height = map(int, size.split("x"))
    image = DemoSequence(1, image_size=(height, width)).frame(0).image
    seconds: dict[str, list[float]] = {name: [] for name in segmenters}

    def work() -> None:
        for _ in range(rounds + 3):
            for name, segmenter in segmenters.items():
                began = time.perf_counter()
                segmenter.segment([image])
                seconds[name].append(time.perf_counter() - began)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    rows: list[Row] = []
    for name, taken in seconds.items():
        ms = 1e3 * np.array(taken[3:])
        lower, ratio, upper = np.percentile(1e3 * np.array(seconds[EAGER][3:]) / ms, (25, 50, 75))
        found = {"ms": float(np.median(ms)), "best ms": float(ms.min()), "eager's time over its own": float(ratio)}
        quartiles = f"{lower:.2f} to {upper:.2f}"
        rows.append({"size": size, "backend": name, **found, "quartiles": quartiles, "build s": built_s[name]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tiny")
    parser.add_argument("--sizes", nargs="+", default=["640x360", "1920x1080"])
    parser.add_argument(
        "--backends", nargs="+", choices=("compile", "tensorrt", "onnxruntime"), default=["compile", "onnxruntime"]
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        segmenters, built_s = {}, {}
        with tempfile.TemporaryDirectory() as engines:
            for name in (EAGER, *arguments.backends):
                settings = BackendSettings(name, engine_cache=Path(engines) / "engines")
                where = {"device": arguments.device, "precision": arguments.precision}
                began = time.perf_counter()
                segmenters[name] = Segmenter.load(arguments.checkpoint, backend=settings, input_size=(height, width), **where)
                built_s[name] = time.perf_counter() - began
                print(f"{size} {name}: ready after {built_s[name]:.1f} s", file=sys.stderr, flush=True)
            rows += compared(segmenters, built_s, size, arguments.rounds)
    finish({"backends": rows}, arguments.json, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()

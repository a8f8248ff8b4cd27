# SPDX-License-Identifier: Apache-2.0
"""Peak memory and time of an inference with Mask2Former's decoder: the semantic map by bands of rows, and all masks at once.

    python benchmarks/semantic_map.py [--checkpoint FILE | --preset eva02_clip_b] [--size 1920x1080] [--labels-only]

Each way runs in a process of its own; its memory is the peak above what the process held with the network loaded. Random
weights let one or two classes win everywhere, so the labels are also compared on smooth made-up masks of all 19 classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from vltseg_core.checkpoints.native import Checkpoint, load
from vltseg_core.config import preset
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import Segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="weights file; else a preset with random weights")
    parser.add_argument("--preset", default="eva02_clip_b")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--labels-only", action="store_true", help="compare the labels of made-up masks, run no network")
    parser.add_argument("--way", choices=("bands", "whole"), help=argparse.SUPPRESS)
    parser.add_argument("--labels", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    compare_made_up_masks(arguments.size)
    if arguments.labels_only:
        return
    found, labels = {}, {}
    for way in ("bands", "whole"):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "labels.npy"
            child = [sys.executable, *sys.argv, "--way", way, "--labels", str(target)]
            found[way] = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout)
            labels[way] = np.load(target)
        print(f"{way}: peak {found[way]['peak_mb']:.0f} MB above the loaded network, {found[way]['seconds']:.1f} s")
    print(f"memory, bands over whole: {found['bands']['peak_mb'] / found['whole']['peak_mb']:.2f}")
    print(f"equal labels: {100 * (labels['bands'] == labels['whole']).mean():.4f} %, {len(np.unique(labels['whole']))} classes")
    print(f"{arguments.checkpoint or arguments.preset}, {arguments.size}, {', '.join(value for _, value in describe_machine())}")


def compare_made_up_masks(size_text: str) -> None:
    """How many labels of both ways are equal where every class is the best somewhere."""
    torch.manual_seed(0)
    width, height = map(int, size_text.split("x"))
    masks = F.interpolate(6 * torch.randn(1, 100, 9, 16), (height // 4, width // 4), mode="bicubic")
    votes = 6.0 * F.one_hot(torch.arange(100) % 19, 20)[None] + torch.randn(1, 100, 20)
    prediction = MaskPrediction(masks, votes)
    bands, whole = (semantic_scores(prediction, (height, width), whole_masks=w).argmax(1) for w in (False, True))
    print(f"made-up masks, {size_text}: {100 * (bands == whole).float().mean():.4f} % equal, {len(whole.unique())} classes")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    torch.manual_seed(0)
    width, height = map(int, arguments.size.split("x"))
    if arguments.checkpoint:
        checkpoint = load(Path(arguments.checkpoint))
    else:
        network = Vltseg(preset(arguments.preset)).eval()
        for part in (network.pixel_decoder, network.mask_decoder):
            for parameter in part.parameters():  # scattered, so that many classes win somewhere
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        checkpoint = Checkpoint(network, "nothing")
    segmenter = Segmenter(
        checkpoint, source="benchmark", device=torch.device("cpu"), precision="fp32", input_size=None,
        whole_masks=arguments.way == "whole",
    )  # fmt: skip
    image = DemoSequence(5, image_size=(height, width)).frame(10).image
    before = _memory_mb("VmRSS")
    _forget_peak()
    start = time.perf_counter()
    result = segmenter.segment([image])[0]
    seconds = time.perf_counter() - start
    np.save(arguments.labels, result.labels)
    return {"peak_mb": _memory_mb("VmHWM") - before, "seconds": seconds}


def _memory_mb(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()

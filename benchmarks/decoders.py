# SPDX-License-Identifier: Apache-2.0
"""Time of the whole network with the encoder-only decoder against Mask2Former's on the same encoder, on a CPU in fp32.

    python benchmarks/decoders.py [--encoder eva02_clip_b] [--size 512] [--rounds 7] [--json FILE]

`Segmenter.segment` of one image, uint8 in, labels and confidence out, random weights; the two take turns in one process, and
medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from vltseg_core.checkpoints.native import Checkpoint
from vltseg_core.config import EncoderOnlyConfig, VltsegConfig, preset
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import Segmenter

MASK2FORMER, ENCODER_ONLY = "Mask2Former", "encoder-only"


def segmenter(config: VltsegConfig) -> Segmenter:
    """With random weights, on the CPU."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(Vltseg(config), "nothing")
    return Segmenter(checkpoint, source="benchmark", device=torch.device("cpu"), precision="fp32", input_size=None)


def measured(encoder: str, image_px: int, rounds: int) -> dict[str, float]:
    """Median seconds of an image by each decoder, after one round that does not count."""
    with_mask2former = preset(encoder)
    without_decoder = replace(
        with_mask2former, name="encoder_only", pixel_decoder=None, mask_decoder=None, encoder_only=EncoderOnlyConfig()
    )
    segmenters = {MASK2FORMER: segmenter(with_mask2former), ENCODER_ONLY: segmenter(without_decoder)}
    image = DemoSequence(5, image_size=(image_px, image_px)).frame(10).image
    seconds: dict[str, list[float]] = {decoder: [] for decoder in segmenters}
    for _ in range(rounds + 1):
        for decoder, network in segmenters.items():
            start = time.perf_counter()
            network.segment([image])
            seconds[decoder].append(time.perf_counter() - start)
    return {decoder: statistics.median(taken[1:]) for decoder, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="eva02_clip_b", help="a preset with Mask2Former's decoder and a ViT")
    parser.add_argument("--size", type=int, default=512, help="side of the square image in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    seconds = measured(arguments.encoder, arguments.size, arguments.rounds)
    ratio = seconds[MASK2FORMER] / seconds[ENCODER_ONLY]
    for decoder, median in seconds.items():
        print(f"{decoder}: {1000 * median:.0f} ms")
    print(f"encoder-only is {ratio:.2f} times as fast")
    machine = [*(value for _, value in describe_machine()), f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"]
    print(f"{arguments.encoder}, {arguments.size}x{arguments.size}, fp32; {', '.join(machine)}")
    if arguments.json:
        found = vars(arguments) | {"seconds": seconds, "times_as_fast": ratio, "machine": machine}
        arguments.json.write_text(json.dumps(found, default=str, indent=2) + "\n")


if __name__ == "__main__":
    main()

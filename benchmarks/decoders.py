# SPDX-License-Identifier: Apache-2.0
"""Time of the whole network by its decoder, from the same encoder, and with transformers' Mask2Former, on a CPU in fp32.

    python benchmarks/decoders.py [--encoder eva02_clip_b] [--tower MODEL] [--size 512] [--rounds 7] [--json FILE]

`Segmenter.segment` of one image, uint8 in, labels and confidence out, with the Mask2Former of this package and with the
encoder-only decoder. Beside them, from the same image: the image encoder alone, which no decoder can be faster than, and the
same with the feature pyramid as it was trained, transformers' Mask2Former and its semantic map to labels, as
benchmarks/decode_head.py has them, channels last. It makes labels alone, without the confidence that ours come with.
Random weights; all take turns in one process; medians are compared. Needs the extra 'dev'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from decode_head import Reference
from torch import Tensor

from vltseg_core.checkpoints.native import Checkpoint
from vltseg_core.config import EncoderOnlyConfig, VltsegConfig, preset, varied
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.network_input import NetworkInput

ALONE, ENCODER_ONLY, MASK2FORMER, TRANSFORMERS = "encoder alone", "encoder-only", "Mask2Former", "transformers' Mask2Former"


def network(config: VltsegConfig) -> Vltseg:
    """With random weights."""
    torch.manual_seed(0)
    return Vltseg(config)


def segmenter(config: VltsegConfig) -> Segmenter:
    """With random weights, on the CPU."""
    checkpoint = Checkpoint(network(config), "nothing")
    return Segmenter(checkpoint, source="benchmark", device=torch.device("cpu"), precision="fp32", input_size=None)


@torch.inference_mode()
def measured(encoder: str, tower: str | None, image_px: int, rounds: int) -> dict[str, float]:
    """Median seconds of an image by each, after one round that does not count."""
    with_mask2former = varied(preset(encoder), {"image_encoder": {"model": tower}}) if tower else preset(encoder)
    without_decoder = replace(
        with_mask2former, name="encoder_only", pixel_decoder=None, mask_decoder=None, encoder_only=EncoderOnlyConfig()
    )
    image = DemoSequence(5, image_size=(image_px, image_px)).frame(10).image
    plain, folded = (network(with_mask2former).eval().to(memory_format=torch.channels_last) for _ in range(2))
    fold_for_inference(folded)
    normalised = NetworkInput(with_mask2former, "fp32", torch.device("cpu"))

    def encoded() -> tuple[Tensor, ...]:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        return folded.image_encoder(normalised(pixels, (image_px, image_px)), with_embedding=False).feature_maps

    def pyramid() -> list[Tensor]:
        return list(plain.feature_pyramid(encoded()))

    assert with_mask2former.mask_decoder is not None
    reference = Reference(pyramid(), with_mask2former.mask_decoder.num_queries, image_px)
    reference.pixel_decoder.to(memory_format=torch.channels_last)

    def with_transformers() -> object:
        value: object = pyramid()
        for part in reference.parts():
            value = part(value)
        return value

    both = {ENCODER_ONLY: segmenter(without_decoder), MASK2FORMER: segmenter(with_mask2former)}
    works: dict[str, Callable[[], object]] = {
        ALONE: encoded,
        **{name: partial(whole.segment, [image]) for name, whole in both.items()},
        TRANSFORMERS: with_transformers,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="eva02_clip_b", help="a preset with Mask2Former's decoder and a ViT")
    parser.add_argument("--tower", metavar="MODEL", help="another ViT of as many blocks, such as deit3_small_patch16_224")
    parser.add_argument("--size", type=int, default=512, help="side of the square image in pixels, a multiple of 32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    seconds = measured(arguments.encoder, arguments.tower, arguments.size, arguments.rounds)
    for name, median in seconds.items():
        print(f"{name}: {1000 * median:.0f} ms")
    ratios = {name: seconds[name] / seconds[ENCODER_ONLY] for name in (MASK2FORMER, TRANSFORMERS, ALONE)}
    print(f"encoder-only is {ratios[MASK2FORMER]:.2f} times as fast as the Mask2Former here, "
          f"{ratios[TRANSFORMERS]:.2f} times as fast as with transformers' own")  # fmt: skip
    print(f"the Mask2Former here is {seconds[TRANSFORMERS] / seconds[MASK2FORMER]:.2f} times as fast as with transformers' own")
    print(f"a decoder that takes no time would be {seconds[MASK2FORMER] / seconds[ALONE]:.2f} times as fast as the one here")
    machine = [*(value for _, value in describe_machine()), f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"]
    print(f"{arguments.tower or arguments.encoder}, {arguments.size}x{arguments.size}, fp32; {', '.join(machine)}")
    if arguments.json:
        found = vars(arguments) | {"seconds": seconds, "times_as_fast": ratios, "machine": machine}
        arguments.json.write_text(json.dumps(found, default=str, indent=2) + "\n")


if __name__ == "__main__":
    main()

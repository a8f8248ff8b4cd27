# SPDX-License-Identifier: Apache-2.0
"""Time of the decode head against transformers' Mask2Former from the same weights, on a CPU in fp32.

    python benchmarks/decode_head.py [--size 512] [--channels 1024] [--queries 100] [--rounds 15] [--json FILE]

The decode head is pixel decoder, mask decoder and semantic map: a made-up pyramid of four maps in, a label for each pixel out.
The sides take turns in one process, and medians are compared. Theirs is measured with its maps and weights in both memory
layouts, and the faster one counts. Weights are random, scattered so that many classes win somewhere. Needs the extra 'dev'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mask2former_weights import renamed
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder, Mask2FormerTransformerModule

from vltseg_core.config import MaskDecoderConfig, PixelDecoderConfig
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.model.mask_decoder import MaskDecoder, MaskPrediction
from vltseg_core.model.pixel_decoder import DecodedPixels, DeformablePixelDecoder
from vltseg_core.model.semantic_map import semantic_best

NUM_CLASSES = 19
PARTS = ("pixel decoder", "mask decoder", "semantic map")
Parts = Sequence[Callable[..., object]]
"""What a side does, each on what the one before gave; the first takes the maps."""


class Reference:
    """transformers' pixel decoder and transformer module with a class head; the semantic map of their image processor.

    That one resizes masks to 384x384 first whatever the image; here they are resized to the image, as ours are. The class
    head is fitted so that on these maps the queries vote for the classes in turn, each with a strength of its own.
    """

    def __init__(self, maps: Sequence[Tensor], num_queries: int, image_px: int) -> None:
        config = Mask2FormerConfig(num_queries=num_queries, num_labels=NUM_CLASSES, dropout=0.0, encoder_feedforward_dim=1024)
        pixel_decoder = Mask2FormerPixelDecoder(config, [m.shape[1] for m in maps])
        nn.init.normal_(pixel_decoder.level_embed)  # it comes as the memory was
        self.pixel_decoder = scattered(pixel_decoder)
        self.module = scattered(Mask2FormerTransformerModule(in_features=config.feature_size, config=config))
        self.class_head = nn.Linear(config.hidden_dim, NUM_CLASSES + 1, bias=False)
        self._image_px = image_px
        queries = self._decoded(self.pixel_decoder(maps)).intermediate_hidden_states[-1][:, 0]  # [Q, C]
        strength = 5 + torch.rand(num_queries, 1)  # equal votes would tie wherever the same masks are on
        votes = strength * F.one_hot(torch.arange(num_queries) % NUM_CLASSES, NUM_CLASSES + 1)
        fitted = torch.linalg.lstsq(queries.double(), votes.double()).solution
        self.class_head.weight.copy_(fitted.T)

    def parts(self) -> Parts:
        """Its three."""
        return self.pixel_decoder, self._masks, self._labels

    def _decoded(self, pixels: Any) -> Any:
        return self.module(list(pixels.multi_scale_features), pixels.mask_features)

    def _masks(self, pixels: Any) -> tuple[Tensor, Tensor]:
        found = self._decoded(pixels)
        return found.masks_queries_logits[-1], self.class_head(found.intermediate_hidden_states[-1].transpose(0, 1))

    def _labels(self, masks_and_classes: tuple[Tensor, Tensor]) -> Tensor:
        masks, classes = masks_and_classes
        resized = F.interpolate(masks, size=(self._image_px, self._image_px), mode="bilinear", align_corners=False)
        return torch.einsum("bqc,bqhw->bchw", classes.softmax(-1)[..., :-1], resized.sigmoid()).argmax(1)


def ours(reference: Reference, channels: int, num_queries: int, image_px: int) -> Parts:
    """Our three, from the reference's weights."""
    pixel_decoder = DeformablePixelDecoder(PixelDecoderConfig("deformable"), (channels,) * 4).eval()
    pixel_decoder.load_state_dict(renamed(reference.pixel_decoder.state_dict(), pixel_decoder))
    mask_decoder = MaskDecoder(
        MaskDecoderConfig("learned", num_queries), width=256, mask_width=256, num_classes=NUM_CLASSES, embedding_width=0
    ).eval()
    class_head = {"class_head.weight": reference.class_head.weight, "class_head.bias": torch.zeros(NUM_CLASSES + 1)}
    mask_decoder.load_state_dict(renamed(reference.module.state_dict(), mask_decoder) | class_head)
    pixel_decoder.to(memory_format=torch.channels_last)  # as Segmenter has it

    def masks(pixels: DecodedPixels) -> MaskPrediction:
        return mask_decoder(pixels, None)[-1]

    return pixel_decoder, masks, lambda prediction: semantic_best(prediction, (image_px, image_px)).labels


def scattered(module: nn.Module) -> nn.Module:
    """In evaluation mode, every weight moved, so that every part matters."""
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def made_up_maps(channels: int, image_px: int) -> list[Tensor]:
    """Maps [1, channels, h, w] at strides 4, 8, 16 and 32 that vary from place to place, as smooth as an encoder's."""
    scene = F.interpolate(torch.randn(1, channels, 8, 8), (image_px // 4, image_px // 4), mode="bicubic")
    maps = [F.interpolate(scene, scale_factor=1 / s, mode="area") for s in (1, 2, 4, 8)]
    return [m + 0.3 * torch.randn_like(m) for m in maps]


def timed(parts: Parts, maps: Sequence[Tensor]) -> tuple[list[float], Tensor]:
    """Seconds of each part, and the labels."""
    seconds: list[float] = []
    value: object = list(maps)
    for part in parts:
        start = time.perf_counter()
        value = part(value)
        seconds.append(time.perf_counter() - start)
    assert isinstance(value, Tensor)
    return seconds, value


@torch.no_grad()
def measured(channels: int, num_queries: int, image_px: int, rounds: int) -> dict[str, object]:
    """Medians over the rounds, after one that does not count."""
    torch.manual_seed(0)
    maps = made_up_maps(channels, image_px)
    reference = Reference(maps, num_queries, image_px)
    maps_last = [m.to(memory_format=torch.channels_last) for m in maps]
    with_layout: dict[str, tuple[Parts, list[Tensor], torch.memory_format]] = {
        "transformers": (reference.parts(), maps, torch.contiguous_format),
        "transformers, channels last": (reference.parts(), maps_last, torch.channels_last),
        "ours": (ours(reference, channels, num_queries, image_px), maps_last, torch.channels_last),
    }
    seconds: dict[str, list[list[float]]] = {side: [] for side in with_layout}
    labels: dict[str, Tensor] = {}
    for _ in range(rounds + 1):
        for side, (parts, inputs, layout) in with_layout.items():
            reference.pixel_decoder.to(memory_format=layout)
            taken, labels[side] = timed(parts, inputs)
            seconds[side].append(taken)
    medians = {side: [statistics.median(part) for part in zip(*taken[1:], strict=True)] for side, taken in seconds.items()}
    totals = {side: statistics.median(map(sum, taken[1:])) for side, taken in seconds.items()}
    fastest = min((side for side in totals if side != "ours"), key=totals.__getitem__)
    return {
        "seconds": {side: dict(zip(PARTS, parts, strict=True)) | {"all": totals[side]} for side, parts in medians.items()},
        "times_as_fast": totals[fastest] / totals["ours"],
        "compared_with": fastest,
        "equal_labels": (labels["ours"] == labels["transformers"]).float().mean().item(),
        "classes_present": len(labels["transformers"].unique()),
        "largest_class_share": labels["transformers"].flatten().bincount().max().item() / labels["transformers"].numel(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the square image in pixels, a multiple of 32")
    parser.add_argument("--channels", type=int, default=1024, help="of each map of the pyramid")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    found = measured(arguments.channels, arguments.queries, arguments.size, arguments.rounds)
    print("| | " + " | ".join((*PARTS, "all")) + " |")
    print("|" + " --- |" * (len(PARTS) + 2))
    for side, parts in found["seconds"].items():  # type: ignore[attr-defined]  # figures of several forms
        print(f"| {side} | " + " | ".join(f"{1000 * s:.0f} ms" for s in parts.values()) + " |")
    print(f"{found['times_as_fast']:.2f} times as fast as {found['compared_with']}")
    print(f"equal labels: {100 * found['equal_labels']:.4f} %; {found['classes_present']} classes, the largest "
          f"{100 * found['largest_class_share']:.0f} % of the pixels")  # fmt: skip
    machine = [*(value for _, value in describe_machine()), f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"]
    shape = f"{arguments.size}x{arguments.size}, {arguments.channels} channels, {arguments.queries} queries, fp32"
    print(f"{shape}; {', '.join(machine)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(vars(arguments) | found | {"machine": machine}, default=str, indent=2) + "\n")


if __name__ == "__main__":
    main()

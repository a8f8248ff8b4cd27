# SPDX-License-Identifier: Apache-2.0
"""One process's share of a set to validate on, and what a network makes of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from vltseg_core.data.labelled_images import LabelledImage, LabelledImages
from vltseg_core.errors import InputError
from vltseg_core.labels import IGNORE
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.augmentation import within_pixels
from vltseg_core.runtime.scoring import MASK_STRIDE, covered_size
from vltseg_core.runtime.sliding_window import SlidingWindow

_BLANK_PX = 64


class ValidationImage(NamedTuple):
    """number: the image's number, -1 for one that only keeps the processes in step. failure: why it could not be read."""

    number: int
    labelled: LabelledImage
    failure: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is to be measured on."""
        return self.number >= 0 and not self.failure


class ValidationImages(Dataset[ValidationImage]):
    """Images r, r + w, r + 2 w ... of a set for process r of w: each image is somebody's, and all have as many.

    Sharded weights want every process to take part in every step, so the share is filled up with blank images.
    """

    def __init__(self, images: LabelledImages, rank: int, num_processes: int) -> None:
        self._images, self._rank, self._num_processes = images, rank, num_processes

    def __len__(self) -> int:
        return -(-len(self._images) // self._num_processes)

    def __getitem__(self, place: int) -> ValidationImage:
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = place * self._num_processes + self._rank
        if number >= len(self._images):
            return ValidationImage(-1, _blank())
        try:
            return ValidationImage(number, self._images[number])
        except InputError as error:
            return ValidationImage(number, _blank(), str(error))


def _blank() -> LabelledImage:
    return LabelledImage(np.zeros((_BLANK_PX, _BLANK_PX, 3), np.uint8), np.full((_BLANK_PX, _BLANK_PX), IGNORE, np.uint8))


def predict_labels(network: Vltseg, images: Tensor, *, longest_side_px: int, window: SlidingWindow | None) -> Tensor:
    """Train ids uint8 [B, H, W] of normalised images [B, 3, H, W].

    longest_side_px: a longer image enters the network smaller, its scores are brought back; 0 for any that the network takes.
    """
    inference = network.config.inference
    size = (images.shape[-2], images.shape[-1])
    height, width = within_pixels(size, inference.max_input_pixels)
    if longest_side_px and max(height, width) > longest_side_px:
        height, width = (round(side * longest_side_px / max(size)) for side in size)
    if (height, width) != size:
        entered = F.interpolate(  # in fp32: a CPU cannot low-pass filter in half precision
            images.float(), (height, width), mode="bilinear", align_corners=False, antialias=inference.antialias
        )
        images = entered.to(images.dtype)

    def scores_of(crop: Tensor, crop_size: tuple[int, int]) -> Tensor:
        masks = network(crop).predictions[-1]
        covered = covered_size(masks.mask_logits, MASK_STRIDE, network.config, crop, crop_size)
        scores = semantic_scores(masks, covered).float()
        return scores[..., : crop_size[0], : crop_size[1]]

    inside = (images.shape[-2], images.shape[-1])
    if window is None or max(inside) <= window.size_px:
        scores = scores_of(images, inside if window else size)
    else:
        scores = window.merge(images, len(network.config.classes), scores_of)
    if scores.shape[-2:] != size:
        scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    return scores.argmax(1).to(torch.uint8)

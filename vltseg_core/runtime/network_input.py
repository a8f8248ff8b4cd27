# SPDX-License-Identifier: Apache-2.0
"""From images to what enters the network: checked, resized, normalised. B batch, H and W pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.config import VltsegConfig
from vltseg_core.errors import InputError
from vltseg_core.runtime.device import DTYPES


@dataclass(frozen=True)
class NetworkInput:
    """Makes images into inputs of one network, on the device that they lie on.

    config: of the network; its mean and std are of RGB values 0 to 255. precision: "fp32", "fp16" or "bf16".
    """

    config: VltsegConfig
    precision: str

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """uint8 [B, 3, H, W] RGB to the normalised input [B, 3, *size], channels last."""
        pixels = images.float()
        if size != tuple(images.shape[-2:]):
            antialias = self.config.inference.antialias
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=antialias)
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.config.mean, self.config.std))
        return ((pixels - mean) / std).to(DTYPES[self.precision], memory_format=torch.channels_last)


def require_image(image: NDArray[np.uint8]) -> None:
    """Raise InputError for what is no uint8 [H, W, 3], or has no pixels."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an image must be uint8 [height, width, 3] RGB, not {found}: convert it first")
    if 0 in image.shape:
        raise InputError(f"an image of {image.shape[1]}x{image.shape[0]} pixels has nothing to segment: drop it")


def same_size(images: Sequence[NDArray[np.uint8]]) -> list[list[int]]:
    """Indices of the images, grouped by size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(image.shape, []).append(i)
    return list(groups.values())

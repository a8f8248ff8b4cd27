# SPDX-License-Identifier: Apache-2.0
"""From the network's input to class scores at an image's size: whole or in windows.

B batch, K classes, h and w pixels of the input, H and W of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vltseg_core.config import VltsegConfig
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.semantic_map import BestClasses, best_classes, semantic_best, semantic_scores
from vltseg_core.runtime.sliding_window import SlidingWindow

MASK_STRIDE = 4
"""Pixels of the input between two places of a mask."""


@dataclass(frozen=True)
class ClassScores:
    """predict: normalised images [B, 3, h, w] to their masks, by the network of `config`.

    window: slides over larger inputs, None for whole ones. whole_masks: see `semantic_scores`.
    """

    predict: Callable[[Tensor], MaskPrediction]
    config: VltsegConfig
    window: SlidingWindow | None
    whole_masks: bool

    def __call__(self, inputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Normalised inputs [B, 3, h, w] to scores float32 [B, K, H, W] at `size`.

        A published network's scores are made at the input's size and then resized, as its published figures were; other
        networks' masks are resized to `size` at once where there is one window.
        """
        if self._made_at_once(inputs, size):
            return self._of_crop(inputs, size)
        input_size = (inputs.shape[-2], inputs.shape[-1])
        if self._slides_over(inputs):
            assert self.window is not None
            scores = self.window.merge(inputs, len(self.config.classes), self._of_crop)
        else:
            scores = self._of_crop(inputs, input_size)
        if scores.shape[-2:] == size:
            return scores
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)

    def best(self, inputs: Tensor, size: tuple[int, int]) -> BestClasses:
        """What a call's scores say, each [B, H, W]; where they are made at `size` at once, they are never all there together."""
        if self._made_at_once(inputs, size) and not self.whole_masks:
            masks = self._masks_in_fp32(inputs)
            found = semantic_best(masks, covered_size(masks.mask_logits, MASK_STRIDE, self.config, inputs, size))
            return BestClasses(*(part[:, : size[0], : size[1]] for part in found))
        return best_classes(self(inputs, size))

    def _made_at_once(self, inputs: Tensor, size: tuple[int, int]) -> bool:
        is_published = self.config.image_encoder.partial_patches == "drop"
        return not self._slides_over(inputs) and (not is_published or tuple(inputs.shape[-2:]) == size)

    def _slides_over(self, inputs: Tensor) -> bool:
        return self.window is not None and max(inputs.shape[-2:]) > self.window.size_px

    def _of_crop(self, crop: Tensor, size: tuple[int, int]) -> Tensor:
        masks = self._masks_in_fp32(crop)
        covered = covered_size(masks.mask_logits, MASK_STRIDE, self.config, crop, size)
        scores = semantic_scores(masks, covered, whole_masks=self.whole_masks)
        return scores[..., : size[0], : size[1]]

    def _masks_in_fp32(self, crop: Tensor) -> MaskPrediction:
        mask_logits, class_logits = self.predict(crop)
        return MaskPrediction(mask_logits.float(), None if class_logits is None else class_logits.float())


def covered_size(maps: Tensor, stride: int, config: VltsegConfig, inputs: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """What size the maps [B, C, h, w] of the input, which have that stride, are to be resized to and then cut, for `size`.

    A tower that takes images as they are makes of 375 rows 94 of masks, which cover 376. A ViT's patches cover its input.
    """
    if config.image_encoder.kind == "vit" or tuple(inputs.shape[-2:]) != tuple(size):
        return size
    height, width = maps.shape[-2:]
    return max(size[0], stride * height), max(size[1], stride * width)

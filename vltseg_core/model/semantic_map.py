# SPDX-License-Identifier: Apache-2.0
"""From masks to class scores, or to labels alone, at the image's size.

B batch, Q queries, K classes, H and W pixels, h and w places of the masks, R rows of a band.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.model.linear import linear
from vltseg_core.model.mask_decoder import MaskPrediction

_BAND_VALUES = 1 << 20
"""Resized mask values that a band of rows may hold: 4 MiB in fp32, which stay in a processor's cache."""

_BAND_VALUES_ON_GPU = 1 << 22
"""There, of each image: fewer bands to start kernels for, still at a fraction of the memory. Chosen without a GPU at hand."""


class BestClasses(NamedTuple):
    """What labels and confidence are made of, each [B, H, W].

    scores: the best class's; not finite where any class's is not. labels: that class, int64. totals: the sum over the classes.
    """

    scores: Tensor
    labels: Tensor
    totals: Tensor


def semantic_scores(prediction: MaskPrediction, size: tuple[int, int], *, whole_masks: bool = False) -> Tensor:
    """A prediction as class scores [B, K, H, W] at `size`.

    Learned queries: class probabilities times mask probabilities, summed over the queries, each mask resized first
    (Mask2Former, section 3.1); band of rows by band of rows, so that the resized masks of all queries are never there
    together, or, with `whole_masks`, all at once. The two differ by rounding alone. Text queries: softmax of the resized
    masks over the classes.
    """
    mask_logits, class_logits = prediction
    if class_logits is None:
        return F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False).softmax(dim=1)
    if whole_masks:
        resized = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False)
        return torch.einsum("bqk,bqhw->bkhw", class_logits.softmax(dim=-1)[..., :-1], resized.sigmoid())
    shape = (len(mask_logits), *size, class_logits.shape[-1] - 1)
    scores = mask_logits.new_empty(shape).permute(0, 3, 1, 2)  # channels last, as the bands are
    for rows, band in _score_bands(mask_logits, class_logits, size):
        scores[..., rows, :] = band
    return scores


def best_classes(scores: Tensor) -> BestClasses:
    """Of class scores [B, K, H, W]."""
    best, labels = _largest(scores)
    return BestClasses(best, labels, scores.sum(dim=1))


def semantic_best(prediction: MaskPrediction, size: tuple[int, int]) -> BestClasses:
    """`best_classes` of `semantic_scores`, without the scores of all classes ever being there together."""
    mask_logits, class_logits = prediction
    if class_logits is not None:
        bands = [best_classes(band) for _, band in _score_bands(mask_logits, class_logits, size)]
        return BestClasses(*(torch.cat(parts, dim=1) for parts in zip(*bands, strict=True)))
    if mask_logits.device.type != "cpu":  # many small steps are slower there than few large ones
        return best_classes(semantic_scores(prediction, size))
    shape = (len(mask_logits), *size)
    scores, labels = mask_logits.new_empty(shape), mask_logits.new_empty(shape, dtype=torch.int64)
    equal = None
    for rows, logits in _logit_bands(mask_logits, size):
        if equal is None or equal.shape[2] < logits.shape[2]:
            equal = torch.empty_like(logits, dtype=torch.float32)
        differences = logits.sub_(logits.amax(dim=1)[:, None])
        labels[:, rows] = _first_of_ones(torch.eq(differences, 0.0, out=equal[:, :, : logits.shape[2]]))
        scores[:, rows] = differences.exp_().sum(dim=1).reciprocal_()
    return BestClasses(scores, labels, torch.ones_like(scores))


def _largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of values [B, K, R, W] over the classes, and its class, int64, each [B, R, W].

    Not finite where one of the values is NaN; the class says nothing then. Where a CPU has class after class in memory, the
    maximum with its index takes longer than the maximum, a comparison with it and the first that is equal.
    """
    if values.device.type != "cpu" or values.stride(-1) != 1 or values.dtype != torch.float32:
        largest, labels = values.max(dim=1)
        return largest, labels
    largest = values.amax(dim=1)
    labels = torch.empty_like(largest, dtype=torch.int64)
    batch_size, num_classes, height, width = values.shape
    band_rows = max(1, _BAND_VALUES // max(1, batch_size * num_classes * width))
    equal = values.new_empty((batch_size, num_classes, min(band_rows, height), width))
    for top in range(0, height, band_rows):
        rows = slice(top, min(top + band_rows, height))
        marks = torch.eq(values[:, :, rows], largest[:, None, rows], out=equal[:, :, : rows.stop - top])
        labels[:, rows] = _first_of_ones(marks)
    return largest, labels


def _first_of_ones(marks: Tensor) -> Tensor:
    """The first class, a float32 [B, R, W], at which marks float32 [B, K, R, W], which are overwritten, are 1 and not 0."""
    num_classes = marks.shape[1]
    ranks = torch.arange(num_classes, 0, -1, dtype=torch.float32)[:, None, None]
    return marks.mul_(ranks).amax(dim=1).clamp_(min=1.0).neg_().add_(num_classes)


def _score_bands(mask_logits: Tensor, class_logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Rows and their class scores [B, K, R, W], from the top. Queries lie last in memory, so that a place is one vector."""
    class_weights = class_logits.softmax(dim=-1)[..., :-1].transpose(1, 2).contiguous()  # [B, K, Q]
    masks = mask_logits.permute(0, 2, 3, 1).contiguous()  # [B, h, w, Q]
    batch_size, mask_height, mask_width, num_queries = masks.shape
    height, width = size
    upper, lower, lower_share = _source_places(mask_height, height, masks)
    left, right, right_share = _source_places(mask_width, width, masks)
    band_values = _BAND_VALUES // batch_size if masks.device.type == "cpu" else _BAND_VALUES_ON_GPU
    band_rows = max(1, band_values // (num_queries * width))
    for top in range(0, height, band_rows):
        rows = slice(top, min(top + band_rows, height))
        band = torch.lerp(masks[:, upper[rows]], masks[:, lower[rows]], lower_share[rows, None, None])
        band = torch.lerp(band[:, :, left], band[:, :, right], right_share[:, None]).sigmoid_()  # [B, R, W, Q]
        summed = [linear(image, weights, None) for image, weights in zip(band, class_weights, strict=True)]
        yield rows, torch.stack(summed).permute(0, 3, 1, 2)


def _logit_bands(mask_logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Rows and the masks [B, K, h, w] resized to them [B, K, R, W], from the top. A band may overwrite the one before."""
    masks = mask_logits.contiguous()
    batch_size, num_classes, mask_height, _ = masks.shape
    height, width = size
    band_rows = max(1, _BAND_VALUES // (batch_size * num_classes * width))
    factor = height // mask_height
    if height == factor * mask_height and factor % 2 == 0 and factor <= band_rows:
        yield from _whole_factor_bands(masks, factor, width, band_rows // factor)
        return
    upper, lower, lower_share = _source_places(mask_height, height, masks)
    for top in range(0, height, band_rows):
        rows = slice(top, min(top + band_rows, height))
        band = torch.lerp(masks[:, :, upper[rows]], masks[:, :, lower[rows]], lower_share[rows, None])
        yield rows, _widened(band, width)


def _whole_factor_bands(masks: Tensor, factor: int, width: int, num_gaps: int) -> Iterator[tuple[slice, Tensor]]:
    """`_logit_bands` of masks [B, K, h, w] with `factor` times the rows, that many in the gap between two rows.

    Half of a gap lies above the first row and below the last one, where those are repeated. Columns are resized first, while
    there are few rows, and no row is copied to fill the gaps on both its sides.
    """
    height = masks.shape[2]
    padded = torch.cat((masks[:, :, :1], masks, masks[:, :, -1:]), dim=2)
    shares = ((torch.arange(factor, dtype=masks.dtype) + 0.5) / factor)[:, None]
    room = masks.new_empty((*masks.shape[:2], num_gaps, factor, width))
    for first in range(0, height + 1, num_gaps):
        lines = _widened(padded[:, :, first : first + num_gaps + 1], width)[:, :, :, None]
        band = torch.lerp(lines[:, :, :-1], lines[:, :, 1:], shares, out=room[:, :, : lines.shape[2] - 1]).flatten(2, 3)
        top = first * factor - factor // 2
        rows = slice(max(top, 0), min(top + band.shape[2], height * factor))
        yield rows, band[:, :, rows.start - top : rows.stop - top]


def _widened(masks: Tensor, width: int) -> Tensor:
    """Masks [B, K, R, w], their columns resized to [B, K, R, W]."""
    lines = F.interpolate(masks.flatten(1, 2), size=width, mode="linear", align_corners=False)
    return lines.unflatten(1, masks.shape[1:3])


def _source_places(num_source: int, num_target: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two source rows (or columns) between which each target's centre lies, and the share of the second."""
    target = torch.arange(num_target, device=like.device, dtype=torch.float32)
    centres = ((target + 0.5) * (num_source / num_target) - 0.5).clamp(min=0)
    first = centres.long().clamp(max=num_source - 1)
    return first, (first + 1).clamp(max=num_source - 1), (centres - first).to(like.dtype)

# SPDX-License-Identifier: Apache-2.0
"""The loss of learned queries: matched to an image's segments by the Hungarian method, masks compared at points.

Source: Cheng et al., "Mask2Former", 2022, sections 3.3 and 4; the points as in Kirillov et al., "PointRend", 2020.
Q queries, K classes, S segments of an image, M matched pairs of a batch, P points, H and W label pixels, h and w of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # scipy has no stubs
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.labels import IGNORE
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.training.distributed import mean_over_processes
from vltseg_core.training.label_codes import admitted_classes, is_evidence


class Segments(NamedTuple):
    """An image's ground truth.

    codes: label code of each segment, int64 [S]. admitted: whether it may be each class, bool [S, K].
    masks: [S, H, W] in 0 and 1. counted: [S, H, W], 0 where a pixel is no evidence for or against the segment, else 1.
    """

    codes: Tensor
    admitted: Tensor
    masks: Tensor
    counted: Tensor


class Matching(NamedTuple):
    """Query numbers and the segment numbers that they are matched to, int64 [min(Q, S)] each."""

    queries: Tensor
    segments: Tensor


def segments_of(codes: Tensor, num_classes: int) -> Segments:
    """One segment a label code that occurs in codes int64 [H, W]; 255 says nothing.

    What says nothing, or shares classes with a segment's code, is left out of its mask and dice losses, see `is_evidence`.
    The published head counts it as outside of every mask, which teaches masks to leave out what was merely not annotated.
    """
    occurring = codes[codes != IGNORE].unique()
    masks = (codes == occurring[:, None, None]).float()
    counted = is_evidence(codes[None])[0, occurring].float()
    return Segments(occurring, admitted_classes(occurring)[:, :num_classes], masks, counted)


@dataclass(frozen=True)
class Mask2FormerLoss:
    """Weighted classification, mask and dice losses of every decoder layer.

    class_weight, mask_weight, dice_weight: of the losses and of the matching's costs. no_object_weight: of queries
    without a segment. num_points: P. oversampling: candidates a point; importance: share of the points taken where the
    mask is least certain.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    num_points: int = 12544
    oversampling: float = 3.0
    importance: float = 0.75

    def __call__(
        self, predictions: Sequence[MaskPrediction], segments: Sequence[Segments], seeds: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Each weighted loss, summed over the layers, by name: "class", "mask", "dice".

        predictions: of every layer, the final one last. segments: of each image of the batch. seeds: of each image's
        random points, so that they depend neither on its place in the batch nor on the number of processes; None draws
        them from torch's own generator. In a distributed run the means are over the masks of all processes.
        """
        final, *earlier = predictions[::-1]
        device = final.mask_logits.device
        generators = [None if seeds is None else torch.Generator(device).manual_seed(seeds[i]) for i in range(len(segments))]
        with torch.autocast(device.type, enabled=False):  # sums over thousands of points leave half precision's range
            layers = [self._layer_losses(prediction, segments, generators) for prediction in (final, *earlier[::-1])]
        weights = {"class": self.class_weight, "mask": self.mask_weight, "dice": self.dice_weight}
        return {name: weight * torch.stack([layer[name] for layer in layers]).sum() for name, weight in weights.items()}

    def _layer_losses(
        self, prediction: MaskPrediction, segments: Sequence[Segments], generators: Sequence[torch.Generator | None]
    ) -> dict[str, Tensor]:
        mask_logits, class_logits = prediction
        assert class_logits is not None  # learned queries name their class
        images = zip(mask_logits, class_logits, segments, generators, strict=True)
        matchings = [self.match(m, c, s, g) for m, c, s, g in images]
        losses = self._mask_losses(mask_logits, segments, matchings, generators)
        losses["class"] = self._class_loss(class_logits, segments, matchings)
        return losses

    @torch.no_grad()
    def match(
        self, mask_logits: Tensor, class_logits: Tensor, segments: Segments, generator: torch.Generator | None = None
    ) -> Matching:
        """The cheapest assignment of segments to queries of one image: mask logits [Q, h, w], class logits [Q, K + 1]."""
        points = torch.rand(1, self.num_points, 2, device=mask_logits.device, generator=generator)
        at_segments = points.expand(len(segments.masks), -1, -1)
        counted = _sample(segments.counted[:, None], at_segments, beyond="border")  # [S, P]
        inside = _sample(segments.masks[:, None], at_segments) * counted  # [S, P]
        outside = counted - inside
        logits = _sample(mask_logits[:, None].float(), points.expand(len(mask_logits), -1, -1))  # [Q, P]
        cost_class = -(class_logits.float().softmax(-1)[:, :-1] @ segments.admitted.float().T)
        num_counted = counted.sum(-1).clamp(min=1e-6)
        cost_mask = (F.softplus(-logits) @ inside.T + F.softplus(logits) @ outside.T) / num_counted
        probabilities = logits.sigmoid()
        overlap = 2 * probabilities @ inside.T
        cost_dice = 1 - (overlap + 1) / (probabilities @ counted.T + inside.sum(-1) + 1)
        cost = self.mask_weight * cost_mask + self.class_weight * cost_class + self.dice_weight * cost_dice
        largest = torch.finfo(cost.dtype).max
        queries, matched = linear_sum_assignment(cost.nan_to_num(nan=largest, posinf=largest, neginf=largest).cpu())
        device = mask_logits.device
        return Matching(torch.as_tensor(queries, device=device), torch.as_tensor(matched, device=device))

    def _class_loss(self, class_logits: Tensor, segments: Sequence[Segments], matchings: Sequence[Matching]) -> Tensor:
        """Cross-entropy of what each query may be: one of its segment's classes, or nothing."""
        admitted = torch.zeros(class_logits.shape, dtype=torch.bool, device=class_logits.device)
        admitted[..., -1] = True
        for of_queries, image, matching in zip(admitted, segments, matchings, strict=True):
            of_queries[matching.queries, :-1] = image.admitted[matching.segments]
            of_queries[matching.queries, -1] = False
        log_probabilities = class_logits.float().log_softmax(-1).masked_fill(~admitted, -torch.inf).logsumexp(-1)
        weights = torch.where(admitted[..., -1], self.no_object_weight, 1.0)
        return -(weights * log_probabilities).sum() / mean_over_processes(weights.sum())

    def _mask_losses(
        self,
        mask_logits: Tensor,
        segments: Sequence[Segments],
        matchings: Sequence[Matching],
        generators: Sequence[torch.Generator | None],
    ) -> dict[str, Tensor]:
        logits = torch.cat([m[pairs.queries] for m, pairs in zip(mask_logits, matchings, strict=True)])[:, None].float()
        truth = torch.cat([s.masks[pairs.segments] for s, pairs in zip(segments, matchings, strict=True)])[:, None]
        counted = torch.cat([s.counted[pairs.segments] for s, pairs in zip(segments, matchings, strict=True)])[:, None]
        num_masks = mean_over_processes(torch.as_tensor(float(len(logits)), device=logits.device)).clamp(min=1e-6)
        if not len(logits):
            nothing = mask_logits.float().sum() * 0.0  # keeps every parameter in the graph
            return {"mask": nothing, "dice": nothing}
        points = self._points(logits, [len(pairs.queries) for pairs in matchings], generators)
        logits_at, truth_at = _sample(logits, points), _sample(truth, points)  # [M, P]
        counted_at = _sample(counted, points, beyond="border")
        cross_entropy = F.binary_cross_entropy_with_logits(logits_at, truth_at, weight=counted_at, reduction="none")
        per_mask = cross_entropy.sum(1) / counted_at.sum(1).clamp(min=1e-6)
        probabilities = logits_at.sigmoid() * counted_at
        overlap = 2 * (probabilities * truth_at).sum(-1)
        dice = 1 - (overlap + 1) / (probabilities.sum(-1) + (truth_at * counted_at).sum(-1) + 1)
        return {"mask": per_mask.sum() / num_masks, "dice": dice.sum() / num_masks}

    @torch.no_grad()
    def _points(self, logits: Tensor, num_masks: Sequence[int], generators: Sequence[torch.Generator | None]) -> Tensor:
        """Points [M, P, 2] as (x, y) in 0..1, most of them where the mask logits [M, 1, h, w] are nearest to 0.

        num_masks: how many of the masks are each image's.
        """

        def drawn(num_points: int) -> Tensor:  # [M, num_points, 2]
            device = logits.device
            images = zip(num_masks, generators, strict=True)
            return torch.cat([torch.rand(n, num_points, 2, device=device, generator=g) for n, g in images])

        candidates = drawn(int(self.num_points * self.oversampling))
        num_uncertain = int(self.importance * self.num_points)
        chosen = _sample(logits, candidates).abs().neg().topk(num_uncertain, dim=1).indices
        uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat((uncertain, drawn(self.num_points - num_uncertain)), dim=1)


def _sample(maps: Tensor, points: Tensor, *, beyond: str = "zeros") -> Tensor:
    """Maps [N, 1, h, w] at points [N, P, 2] in 0..1, bilinearly, with zeros or the border's values beyond it: [N, P]."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, padding_mode=beyond, align_corners=False)[:, 0, :, 0]

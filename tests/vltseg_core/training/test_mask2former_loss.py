# SPDX-License-Identifier: Apache-2.0
"""Queries are matched to segments one to one, and pixels without a label change nothing."""

from __future__ import annotations

import torch

from vltseg_core.data.labelled_images import VEHICLE
from vltseg_core.labels import CITYSCAPES, IGNORE
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.training.mask2former_loss import Mask2FormerLoss, segments_of

NUM_CLASSES = 4


def labels() -> torch.Tensor:
    """Class 1 on the left, class 3 on the right, nothing said below, int64 [32, 32]."""
    image = torch.full((32, 32), IGNORE)
    image[:24, :16], image[:24, 16:] = 1, 3
    return image


def perfect(order: tuple[int, ...] = (1, 3)) -> MaskPrediction:
    """Two of four queries are the two segments, in that order, the others are nothing."""
    mask_logits, class_logits = torch.full((1, 4, 32, 32), -20.0), torch.zeros(1, 4, NUM_CLASSES + 1)
    class_logits[0, :, NUM_CLASSES] = 20.0
    for query, train_id in enumerate(order):
        mask_logits[0, query][labels() == train_id] = 20.0
        class_logits[0, query] = 20.0 * torch.nn.functional.one_hot(torch.tensor(train_id), NUM_CLASSES + 1)
    return MaskPrediction(mask_logits, class_logits)


def test_segments_are_the_classes_that_occur() -> None:
    segments = segments_of(labels(), NUM_CLASSES)
    assert segments.codes.tolist() == [1, 3]
    assert segments.admitted.nonzero().tolist() == [[0, 1], [1, 3]]
    assert torch.equal(segments.masks[1] > 0, labels() == 3)
    assert all(float(counted.sum()) == 24 * 32 for counted in segments.counted)


def test_a_segment_of_several_classes_is_evidence_for_any_of_them_and_against_none() -> None:
    codes = torch.zeros(32, 32, dtype=torch.long)
    codes[:16] = VEHICLE
    loss = Mask2FormerLoss(num_points=400, importance=0.0)
    costs = {}
    for name in ("car", "train", "sky"):
        mask_logits = torch.where(codes == VEHICLE, 20.0, -20.0)[None, None].repeat(1, 2, 1, 1)
        mask_logits[:, 1] *= -1  # the road
        class_logits = torch.zeros(1, 2, 20)
        class_logits[0, 0, CITYSCAPES.names.index(name)] = class_logits[0, 1, 0] = 20.0
        class_logits.requires_grad_()
        torch.manual_seed(0)
        costs[name] = loss([MaskPrediction(mask_logits, class_logits)], [segments_of(codes, 19)])["class"]
        (gradient,) = torch.autograd.grad(costs[name], class_logits)
        assert gradient.isfinite().all() and gradient[0, 0, 19] >= 0  # it is never called nothing
    assert costs["car"] < 1e-6 and costs["train"] < 1e-6 and costs["sky"] > 10


def test_a_pixel_that_may_be_a_segment_s_does_not_count_for_its_mask() -> None:
    codes = torch.zeros(4, 4, dtype=torch.long)
    codes[0], codes[1], codes[2] = CITYSCAPES.names.index("car"), VEHICLE, IGNORE
    segments = segments_of(codes, 19)
    assert segments.codes.tolist() == [0, CITYSCAPES.names.index("car"), VEHICLE]
    assert segments.counted[:, :, 0].tolist() == [[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1]]
    assert segments.admitted[2].sum() == 4


def test_the_loss_is_as_exact_under_mixed_precision() -> None:
    segments = [segments_of(labels(), NUM_CLASSES)]
    torch.manual_seed(1)
    prediction = MaskPrediction(torch.randn(1, 4, 32, 32), torch.randn(1, 4, NUM_CLASSES + 1))
    found = []
    for is_mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            found.append(Mask2FormerLoss(num_points=400)([prediction], segments))
    assert found[0] == found[1]


def test_each_segment_finds_its_query_whatever_the_order() -> None:
    torch.manual_seed(0)
    prediction = perfect(order=(3, 1))
    matching = Mask2FormerLoss(num_points=200).match(*(t[0] for t in prediction), segments_of(labels(), NUM_CLASSES))
    assert dict(zip(matching.queries.tolist(), matching.segments.tolist(), strict=True)) == {0: 1, 1: 0}


def test_a_perfect_prediction_costs_next_to_nothing_and_a_wrong_class_does() -> None:
    torch.manual_seed(0)
    loss = Mask2FormerLoss(num_points=400, importance=0.0)  # not drawn to the border, where logits are interpolated
    segments = [segments_of(labels(), NUM_CLASSES)]
    right = loss([perfect()], segments)
    assert float(right["class"]) < 1e-6 and float(right["mask"]) < 1 and float(right["dice"]) < 0.5
    wrong = loss([MaskPrediction(perfect().mask_logits, perfect().class_logits.roll(1, -1))], segments)
    assert float(wrong["class"]) > 10


def test_what_is_predicted_where_the_label_says_nothing_does_not_matter() -> None:
    prediction, segments = perfect(), [segments_of(labels(), NUM_CLASSES)]
    other = prediction.mask_logits.clone()
    other[:, :, 26:] = -other[:, :, 26:]  # two rows off the border, where points are interpolated
    gradients = []
    for mask_logits in (prediction.mask_logits, other):
        leaf = mask_logits.clone().requires_grad_()
        torch.manual_seed(0)
        losses = Mask2FormerLoss(num_points=400, importance=0.0)([MaskPrediction(leaf, prediction.class_logits)], segments)
        gradients.append(torch.autograd.grad(losses["mask"] + losses["dice"], leaf)[0])
    assert float(gradients[0][:, :, 26:].abs().max()) == 0
    assert torch.equal(gradients[0], gradients[1])


def test_an_image_without_labels_has_a_finite_loss() -> None:
    nothing = torch.full((32, 32), IGNORE)
    in_half = MaskPrediction(torch.full((1, 4, 128, 128), -200.0).half(), perfect().class_logits.half())
    losses = Mask2FormerLoss(num_points=50)([in_half], [segments_of(nothing, NUM_CLASSES)])
    assert all(torch.isfinite(value) for value in losses.values())
    losses = Mask2FormerLoss(num_points=50)([perfect()], [segments_of(nothing, NUM_CLASSES)])
    assert all(torch.isfinite(value) for value in losses.values())
    assert float(losses["mask"]) == float(losses["dice"]) == 0

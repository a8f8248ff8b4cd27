# SPDX-License-Identifier: Apache-2.0
"""Losses on label codes: plain classes as everybody computes them, ambiguous ones as evidence for a set."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vltseg_core.data.labelled_images import CODE_MEMBERS, VEHICLE
from vltseg_core.labels import CITYSCAPES, IGNORE
from vltseg_core.training.losses import code_cross_entropy, code_log_probabilities, pixel_text_loss, resize_codes, segment_dice

CAR, BUS, SKY = (CITYSCAPES.names.index(name) for name in ("car", "bus", "sky"))


def test_for_plain_classes_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 19, 5, 7)
    codes = torch.randint(0, 19, (2, 5, 7))
    codes[0, 0] = IGNORE
    expected = F.cross_entropy(logits, codes, ignore_index=IGNORE)
    assert torch.allclose(code_cross_entropy(code_log_probabilities(logits), codes), expected, atol=1e-6)


def test_a_code_s_probability_is_the_sum_over_its_members() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 19, 3, 3)
    probabilities = code_log_probabilities(logits).exp()
    softmax = logits.softmax(1)
    for code, members in enumerate(CODE_MEMBERS):
        assert torch.allclose(probabilities[:, code], softmax[:, list(members)].sum(1), atol=1e-6)


def test_an_ambiguous_pixel_does_not_speak_against_a_member() -> None:
    logits = torch.zeros(1, 19, 1, 1)
    logits[0, BUS] = 3.0
    logits.requires_grad_()
    code_cross_entropy(code_log_probabilities(logits), torch.tensor([[[VEHICLE]]])).backward()
    gradient = logits.grad.flatten()
    assert gradient[BUS] < 0 and gradient[CAR] < 0 and gradient[SKY] > 0
    sure = torch.full((1, 19, 1, 1), -20.0)
    sure[0, BUS] = 20.0
    assert code_cross_entropy(code_log_probabilities(sure), torch.tensor([[[VEHICLE]]])) < 1e-6


def test_dice_is_zero_for_the_truth_and_counts_small_segments_as_much() -> None:
    codes = torch.zeros(1, 20, 20, dtype=torch.long)
    codes[0, :2, :2] = SKY
    logits = 40.0 * F.one_hot(codes, 19).permute(0, 3, 1, 2) - 20.0
    assert segment_dice(code_log_probabilities(logits), codes) < 1e-4
    only_road = torch.full((1, 19, 20, 20), -20.0)
    only_road[:, 0] = 20.0
    dice = segment_dice(code_log_probabilities(only_road), codes)
    road = 1 - (2 * 396 + 1) / (400 + 396 + 1)
    sky = 1 - 1 / (4 + 1)
    assert abs(float(dice) - (road + sky) / 2) < 1e-3


def test_pixels_that_may_be_a_code_s_are_no_evidence_against_it_in_dice() -> None:
    codes = torch.zeros(1, 20, 20, dtype=torch.long)  # a car known as one, and one that may be a bus
    codes[0, :5], codes[0, 5:10] = CAR, VEHICLE
    truth = torch.where(codes == VEHICLE, CAR, codes)
    logits = 40.0 * F.one_hot(truth, 19).permute(0, 3, 1, 2) - 20.0
    assert segment_dice(code_log_probabilities(logits), codes) < 1e-4
    wrong = logits.clone()
    wrong[0, :, :5] = wrong[0, :, -5:]  # the car taken for road
    assert segment_dice(code_log_probabilities(wrong), codes) > 0.3


def test_dice_is_as_exact_under_mixed_precision() -> None:
    torch.manual_seed(0)
    log_probabilities = code_log_probabilities(torch.randn(1, 19, 64, 64))
    codes = torch.randint(0, 19, (1, 64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = segment_dice(log_probabilities, codes)
    assert torch.equal(mixed, segment_dice(log_probabilities, codes))


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 19, 4, 4, requires_grad=True)
    codes = torch.randint(0, 19, (1, 4, 4))
    codes[0, 0] = IGNORE
    log_probabilities = code_log_probabilities(logits)
    (code_cross_entropy(log_probabilities, codes) + segment_dice(log_probabilities, codes)).backward()
    assert logits.grad[0, :, 0].abs().max() == 0 and logits.grad[0, :, 1].abs().max() > 0


def test_codes_are_resized_by_the_nearest_pixel() -> None:
    codes = torch.tensor([[[1, 1, 22, 22], [1, 1, 22, 22], [255, 255, 3, 3], [255, 255, 3, 3]]])
    assert resize_codes(codes, (2, 2)).tolist() == [[[1, 22], [255, 3]]]


def test_pixel_text_matching_is_cross_entropy_at_the_labels_size() -> None:
    torch.manual_seed(0)
    similarity = torch.randn(2, 19, 4, 5).clamp(-1, 1).requires_grad_()
    codes = torch.randint(0, len(CODE_MEMBERS), (2, 32, 40))
    codes[:, :3] = IGNORE
    loss = pixel_text_loss(similarity, codes, 0.07)
    resized = F.interpolate(similarity, (32, 40), mode="bilinear") / 0.07
    expected = code_cross_entropy(code_log_probabilities(resized), codes)
    assert torch.allclose(loss, expected, atol=1e-5)
    gradients = [torch.autograd.grad(value, similarity)[0] for value in (loss, expected)]
    assert torch.allclose(*gradients, atol=1e-6) and torch.isfinite(gradients[0]).all()
    plain = codes.where(codes < 19, IGNORE)
    by_torch = F.cross_entropy(resized, plain, ignore_index=IGNORE)
    assert torch.allclose(pixel_text_loss(similarity, plain, 0.07), by_torch, atol=1e-5)
    nothing = pixel_text_loss(similarity, torch.full_like(codes, IGNORE), 0.07)
    assert nothing.item() == 0 and float(torch.autograd.grad(nothing, similarity)[0].abs().max()) == 0


def test_a_thin_thing_counts_by_its_pixels_in_pixel_text_matching() -> None:
    codes = torch.zeros(1, 32, 32, dtype=torch.long)
    codes[..., 3] = SKY  # between the centres of the score map's places, which a resized label map would drop
    similarity = torch.zeros(1, 19, 4, 4, requires_grad=True)
    pixel_text_loss(similarity, codes, 0.07).backward()
    assert float(similarity.grad[0, SKY, :, 0].min()) < float(similarity.grad[0, CAR, :, 0].max())

# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation is a mean of views, each laid back over the image; fitting keeps the ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.errors import ConfigurationError
from vltseg_core.runtime import InferenceAugmentation, Segmenter
from vltseg_core.runtime.augmentation import LEADERBOARD, PLAIN, fit_within, within_pixels


def scene(size: tuple[int, int] = (96, 128)) -> np.ndarray:
    return DemoSequence(5_000_000, image_size=size).frame(30).image


def test_one_view_is_what_there_is_without_augmentation() -> None:
    plain, single = (
        Segmenter.load("tiny", device="cpu", **settings).segment([scene()])[0]
        for settings in ({}, {"augmentation": InferenceAugmentation((1.0,))})
    )
    assert np.array_equal(plain.labels, single.labels) and np.array_equal(plain.confidence, single.confidence)


def test_with_flip_a_mirrored_image_gives_mirrored_labels() -> None:
    segmenter = Segmenter.load("tiny", device="cpu", augmentation=InferenceAugmentation((1.0, 1.5), flip=True))
    there = segmenter.segment([scene()])[0]
    mirrored = segmenter.segment([np.ascontiguousarray(scene()[:, ::-1])])[0]
    assert (there.labels == mirrored.labels[:, ::-1]).mean() > 0.999
    assert np.abs(there.confidence.astype(int) - mirrored.confidence[:, ::-1]).max() <= 1


def test_views_are_averaged_and_mirrored_ones_turned_back() -> None:
    images = torch.tensor([[[[1.0, 2.0, 6.0]]]]).expand(1, 3, 1, 3)
    seen: list[tuple[int, int]] = []

    def scores_of(view: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        seen.append(size)
        return view * size[0]

    mean = InferenceAugmentation((1.0, 2.0), flip=True).mean_scores(images, (10, 30), scores_of)
    assert seen == [(10, 30)] * 2 + [(20, 60)] * 2
    assert torch.equal(mean, images * 15)


def test_augmentation_changes_the_scores_and_windows_slide_over_larger_views() -> None:
    image = scene()
    window = {"device": "cpu", "window_px": 96}
    augmented = Segmenter.load("tiny", augmentation=InferenceAugmentation((1.0, 1.5)), **window).segment([image])[0]
    plain = Segmenter.load("tiny", **window).segment([image])[0]
    assert augmented.labels.shape == image.shape[:2]
    assert not np.array_equal(augmented.confidence, plain.confidence)
    assert (augmented.labels == plain.labels).mean() > 0.7


def test_the_published_views() -> None:
    assert InferenceAugmentation() == PLAIN
    assert (LEADERBOARD.scales[0], LEADERBOARD.scales[-1], LEADERBOARD.flip) == (1.0, 2.25, True)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 20.0)])
def test_scales_without_sense_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ConfigurationError, match="give one or more from 0.1 to 8"):
        InferenceAugmentation(scales)


@pytest.mark.parametrize(
    ("size", "box", "fitted"),
    [
        ((1024, 2048), (512, 1024), (512, 1024)),
        ((1080, 1920), (540, 960), (540, 960)),
        ((360, 480), (512, 1024), (512, 683)),
        ((3024, 4032), (512, 1024), (512, 683)),
        ((2000, 1000), (512, 1024), (1024, 512)),
    ],
)
def test_fitting_keeps_the_ratio_as_the_published_test_code_does(
    size: tuple[int, int], box: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit_within(size, box) == fitted


@pytest.mark.parametrize(
    ("size", "entered"),
    [
        ((1080, 1920), (540, 960)),
        ((1024, 2048), (509, 1018)),
        ((375, 1242), (375, 1242)),
        ((540, 960), (540, 960)),
        ((1920, 1080), (960, 540)),
        ((506, 1942), (367, 1410)),
        ((1, 1_000_000), (1, 518_400)),
        ((17_000_000, 1), (518_400, 1)),
    ],
)
def test_larger_images_are_made_smaller_to_so_many_pixels(size: tuple[int, int], entered: tuple[int, int]) -> None:
    assert within_pixels(size, 540 * 960) == entered
    assert within_pixels(size, 0) == size


def test_an_image_of_too_many_pixels_enters_smaller_and_is_answered_at_its_own_size() -> None:
    image = scene((96, 192))
    limited = Segmenter.load("tiny", device="cpu", max_input_pixels=48 * 96)
    resized = Segmenter.load("tiny", device="cpu", input_size=(48, 96))
    given, wanted = limited.segment([image])[0], resized.segment([image])[0]
    assert given.labels.shape == (96, 192)
    assert np.array_equal(given.confidence, wanted.confidence)
    assert np.array_equal(limited.match_text([image])[0].confidence, resized.match_text([image])[0].confidence)
    assert np.array_equal(limited.embed(image), resized.embed(image))
    own = Segmenter.load("tiny", device="cpu", max_input_pixels=0).segment([image], box=(48, 96))[0]
    assert np.array_equal(own.confidence, wanted.confidence)
    at_own_size = Segmenter.load("tiny", device="cpu").segment([image])[0]
    assert np.array_equal(limited.segment([image], box=(96, 192))[0].confidence, at_own_size.confidence)


def test_the_limit_is_the_checkpoint_s_own_unless_given() -> None:
    def described(**options: Any) -> int:
        return Segmenter.load("tiny", device="cpu", **options).describe().max_input_pixels

    assert (described(), described(max_input_pixels=0), described(max_input_pixels=5000)) == (540 * 960, 0, 5000)
    assert described(input_size=(1080, 1920)) == 0
    for few in (1, -1):
        with pytest.raises(ConfigurationError, match=f"at most {few} pixels an image: use 1024 or more, or 0 for any number"):
            described(max_input_pixels=few)


def test_an_image_fitted_to_a_box_is_segmented_at_the_box_s_size_and_answered_at_its_own() -> None:
    image = scene((96, 192))
    boxed = Segmenter.load("tiny", device="cpu").segment([image], box=(48, 100))[0]
    resized = Segmenter.load("tiny", device="cpu", input_size=(48, 96)).segment([image])[0]
    assert boxed.labels.shape == (96, 192)
    assert np.array_equal(boxed.confidence, resized.confidence)

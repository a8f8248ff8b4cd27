# SPDX-License-Identifier: Apache-2.0
"""Augmentation keeps image and codes together, fills what it pads with no label, and follows its rng alone."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.labelled_images import LabelledImage
from vltseg_core.data.transforms import Augmentation, photometric_distortion
from vltseg_core.labels import IGNORE


def striped(height: int, width: int) -> LabelledImage:
    """Codes that can be read off the image: red is 10 x the code."""
    codes = np.broadcast_to(np.arange(width, dtype=np.uint8) // 40 % 19, (height, width)).copy()
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = codes * 10
    return LabelledImage(image, codes)


def test_image_and_codes_stay_together() -> None:
    augment = Augmentation(64, scales=(0.8, 1.6))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labelled = augment(striped(120, 400), rng)
        assert labelled.image.shape == (64, 64, 3) and labelled.codes.shape == (64, 64)
        brightness = [labelled.image[labelled.codes == code].max(axis=1).mean() for code in np.unique(labelled.codes)]
        assert brightness == sorted(brightness)


def test_what_is_padded_has_no_label() -> None:
    labelled = Augmentation(100, scales=(1.0, 1.0))(striped(50, 60), np.random.default_rng(0))
    assert (labelled.codes == IGNORE).sum() == 100 * 100 - 50 * 60


def test_the_same_rng_gives_the_same_sample() -> None:
    augment = Augmentation(64)
    first, second = (augment(striped(120, 400), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.codes, second.codes)


def test_a_crop_with_one_class_alone_is_drawn_again() -> None:
    codes = np.zeros((100, 400), np.uint8)
    codes[:, 200:] = 1
    image = np.zeros((100, 400, 3), np.uint8)
    shares = []
    for seed in range(30):
        crop = Augmentation(100, scales=(1.0, 1.0))(LabelledImage(image, codes), np.random.default_rng(seed)).codes
        shares.append(np.bincount(crop.ravel()).max() / crop.size)
    assert np.mean(np.array(shares) <= 0.75) > 0.8


def test_photometric_distortion_varies_and_keeps_the_input() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    before = image.copy()
    varied = {photometric_distortion(image, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(varied) > 10 and np.array_equal(image, before)

# SPDX-License-Identifier: Apache-2.0
"""Pictures in styles that no data set has: other textures and colours over the same shapes, and other cameras.

All chance comes from one rng. Images are uint8 [H, W, 3] RGB, and so are the results.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.weather import add_sensor_noise

Image = NDArray[np.uint8]

_KERNEL_SIDES = (1, 3, 5)
_MEAN_LEVEL = 118.0
_MAX_BLUR_PX = 1.6


def random_style(image: Image, rng: np.random.Generator) -> Image:
    """A picture mixed with a random convolution of itself, so that local texture and colour say less than shape does.

    Source: Xu et al., "Robust and generalizable visual representation learning via random convolutions", 2021: kernels of
    1, 3 or 5 pixels, normal with variance 1 / (3 side^2) (He's), mixed with the picture by a share that is uniform.
    """
    side = int(_KERNEL_SIDES[rng.integers(len(_KERNEL_SIDES))])
    kernels = rng.standard_normal((3, 3, side, side)).astype(np.float32) / np.float32(side * np.sqrt(3))
    centred = image.astype(np.float32) - _MEAN_LEVEL
    planes = [
        sum(cv2.filter2D(centred[..., channel], -1, kernel) for channel, kernel in enumerate(out_channel))
        for out_channel in kernels
    ]
    own = np.float32(rng.uniform())
    return _in_bytes(own * centred + (1 - own) * np.stack(planes, axis=-1) + _MEAN_LEVEL)


def random_camera(image: Image, rng: np.random.Generator) -> Image:
    """A picture as another camera might have taken it.

    Each with probability one half: exposure and white balance (linear light times 0.35 to 2.2, red and blue by up to a quarter),
    blur by the lens or by motion, noise, JPEG of quality 25 to 90.
    """
    if rng.random() < 0.5:
        gain = np.exp(rng.uniform(np.log(0.35), np.log(2.2))) * np.array([rng.uniform(0.75, 1.25), 1.0, rng.uniform(0.75, 1.25)])
        levels = (np.arange(256) / 255) ** 2.2
        tables = [_in_bytes(255 * np.clip(levels * of_channel, 0, 1) ** (1 / 2.2)) for of_channel in gain]
        image = np.asarray(cv2.merge([cv2.LUT(image[..., i], table) for i, table in enumerate(tables)]), np.uint8)
    if rng.random() < 0.5:
        image = _blurred(image, rng)
    if rng.random() < 0.5:
        image = add_sensor_noise(image, rng, shot=rng.uniform(0.0, 0.6), read=rng.uniform(0.5, 6.0))
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 91))
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
        image = np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    return image


def _blurred(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, _MAX_BLUR_PX)), np.uint8)
    length = int(rng.integers(2, 8))
    kernel = np.zeros((length, length), np.float32)
    end = (length - 1, int(rng.integers(length)))
    cv2.line(kernel, (0, length - 1 - end[1]), end, 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _in_bytes(values: NDArray[np.floating]) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)

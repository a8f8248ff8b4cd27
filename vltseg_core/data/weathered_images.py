# SPDX-License-Identifier: Apache-2.0
"""A data set under simulated weather: the same frames and labels, every picture changed, always in the same way."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.labelled_images import LabelledImage, LabelledImages
from vltseg_core.data.weather import check_weather, simulate_weather


class WeatheredImages:
    """Images in one weather at one severity; the chance in frame i follows from (seed, i), the same at every severity.

    The images' own depth is used where they have one. ConfigurationError for an unknown condition or severity.
    """

    def __init__(self, images: LabelledImages, condition: str, severity: int, *, seed: int = 0) -> None:
        check_weather(condition, severity)
        self._images, self._condition, self._severity, self._seed = images, condition, severity, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> LabelledImage:
        labelled = self._images[index]
        rng = np.random.default_rng((self._seed, index))
        image = simulate_weather(labelled.image, self._condition, severity=self._severity, rng=rng, depth_m=labelled.depth_m)
        return labelled._replace(image=image)
